// Somebody who uses matrix-js-sdk with rust crypto, told what to do by lines of JSON:
//   {"id": 1, "call": "send", "with": [...]}  is answered by  {"id": 1, "result": ...}
//   or by  {"id": 1, "error": "..."}.
import "./polyfill.mjs";
import { createInterface } from "node:readline";
import * as sdk from "matrix-js-sdk";
import * as attachments from "./attachments.mjs";
import * as keys from "./keys.mjs";
import { sliding } from "./sliding.mjs";

const PATIENCE_MS = 30_000;
const ENCRYPTION = {
  type: "m.room.encryption",
  state_key: "",
  content: { algorithm: "m.megolm.v1.aes-sha2" },
};

let client;

async function eventually(what, look) {
  const limit = Date.now() + PATIENCE_MS;
  while (Date.now() < limit) {
    const seen = look();
    if (seen) return seen;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`did not happen in ${PATIENCE_MS / 1000} s: ${what}`);
}

async function eventuallyAsync(what, look) {
  const limit = Date.now() + PATIENCE_MS;
  while (Date.now() < limit) {
    const seen = await look();
    if (seen) return seen;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`did not happen in ${PATIENCE_MS / 1000} s: ${what}`);
}

const events = (roomId) => client.getRoom(roomId)?.getLiveTimeline().getEvents() ?? [];
const find = (roomId, matches) => events(roomId).find(matches);
const base64 = (bytes) => Buffer.from(bytes).toString("base64");

async function fetchMedia(mxc, width, height, method) {
  const url = client.mxcUrlToHttp(mxc, width, height, method, false, true, true);
  const response = await fetch(url, {
    headers: { Authorization: `Bearer ${client.getAccessToken()}` },
  });
  if (!response.ok) throw new Error(`${response.status} for ${url}: ${await response.text()}`);
  return new Uint8Array(await response.arrayBuffer());
}

async function upload(bytes, type) {
  const uploaded = await client.uploadContent(new Blob([bytes], { type }), {
    type,
    includeFilename: false,
  });
  return uploaded.content_uri;
}

// The line broke: send the same once more, as people do who see that it was not sent.
async function sendAgain(roomId, transaction) {
  const event = find(roomId, (one) => one.getTxnId() === transaction);
  await eventuallyAsync(`${transaction} is sent`, async () => {
    if (event.status !== "not_sent") return true;
    return client.resendEvent(event, client.getRoom(roomId)).catch((error) => {
      if (error.name !== "ConnectionError") throw error;
    });
  });
  return event.getId();
}

const calls = {
  async logIn(baseUrl, user, password, slides) {
    const login = await sdk.createClient({ baseUrl }).loginRequest({
      type: "m.login.password",
      identifier: { type: "m.id.user", user },
      password,
    });
    client = sdk.createClient({
      baseUrl,
      userId: login.user_id,
      deviceId: login.device_id,
      accessToken: login.access_token,
      ...keys.options,
    });
    await client.initRustCrypto({ useIndexedDB: false });
    calls.watch();
    await client.startClient({
      lazyLoadMembers: true,
      initialSyncLimit: 50,
      slidingSync: slides ? sliding(baseUrl, client) : undefined,
    });
    await eventually("the first sync", () => client.isInitialSyncComplete());
    await eventually("device keys", () => client.getCrypto().getOwnDeviceKeys());
    return login.user_id;
  },

  async createEncryptedRoom(name, invite) {
    const created = await client.createRoom({
      name,
      invite,
      preset: "private_chat",
      initial_state: [ENCRYPTION],
    });
    await calls.knows(created.room_id);
    return created.room_id;
  },

  knows: (roomId) =>
    eventually(`${roomId} known as encrypted`, () =>
      client.getRoom(roomId)?.hasEncryptionStateEvent(),
    ),

  seesMyself: (roomId, membership) =>
    eventually(
      `own membership ${membership}`,
      () => client.getRoom(roomId)?.getMyMembership() === membership,
    ),

  async join(roomId) {
    await eventually(
      `an invite to ${roomId}`,
      () => client.getRoom(roomId)?.getMyMembership() === "invite",
    );
    await client.joinRoom(roomId);
    await calls.knows(roomId);
  },

  seesMember: (roomId, userId) =>
    eventually(
      `${userId} joined`,
      () => client.getRoom(roomId)?.getMember(userId)?.membership === "join",
    ),

  async leave(roomId) {
    await client.leave(roomId);
  },

  async kick(roomId, userId) {
    await client.kick(roomId, userId);
  },

  seesGone: (roomId, userId) =>
    eventually(
      `${userId} gone`,
      () => client.getRoom(roomId)?.getMember(userId)?.membership === "leave",
    ),

  async send(roomId, type, content) {
    const transaction = client.makeTxnId();
    try {
      return (await client.sendEvent(roomId, type, content, transaction)).event_id;
    } catch (error) {
      if (error.name !== "ConnectionError") throw error;
      return sendAgain(roomId, transaction);
    }
  },

  // Event, sender and text of each message. What comes as scrollback is decrypted when it is shown.
  async shown(roomId) {
    await Promise.all(events(roomId).map((one) => client.decryptEventIfNeeded(one)));
    return events(roomId)
      .filter((one) => ["m.room.message", "m.room.encrypted"].includes(one.getType()))
      .map((one) => [one.getId(), one.getSender(), one.getContent().body]);
  },

  async hears(roomId, text) {
    const event = await eventually(text, () =>
      find(
        roomId,
        (one) => one.getContent().body === text && !one.isDecryptionFailure() && !one.status,
      ),
    );
    return {
      event_id: event.getId(),
      sender: event.getSender(),
      content: event.getContent(),
      was_encrypted: event.isEncrypted(),
    };
  },

  async redact(roomId, eventId) {
    await client.redactEvent(roomId, eventId);
  },

  seesReaction: (roomId, eventId, key) =>
    eventually(`reaction ${key}`, () =>
      client
        .getRoom(roomId)
        .relations.getChildEventsForEvent(eventId, "m.annotation", "m.reaction")
        ?.getRelations()
        .some((one) => one.getRelation()?.key === key),
    ),

  seesEdit: (roomId, eventId, text) =>
    eventually(`edit to ${text}`, () => {
      const event = find(roomId, (one) => one.getId() === eventId);
      return event?.replacingEvent() && event.getContent().body === text;
    }),

  seesRedacted: (roomId, eventId) =>
    eventually(`redaction of ${eventId}`, () =>
      find(roomId, (one) => one.getId() === eventId)?.isRedacted(),
    ),

  async read(roomId, eventId) {
    await client.sendReadReceipt(find(roomId, (one) => one.getId() === eventId));
  },

  seesRead: (roomId, eventId, by) =>
    eventually(`${by} read ${eventId}`, () =>
      client.getRoom(roomId).hasUserReadEvent(by, eventId),
    ),

  async typeSomething(roomId) {
    await client.sendTyping(roomId, true, 30_000);
  },

  seesTyping: (roomId, userId) =>
    eventually(`${userId} types`, () => client.getRoom(roomId)?.getMember(userId)?.typing),

  upload: (content, type) => upload(Buffer.from(content, "base64"), type),

  async uploadEncrypted(content) {
    const { ciphertext, file } = await attachments.encrypt(Buffer.from(content, "base64"));
    return { url: await upload(ciphertext, "application/octet-stream"), ...file };
  },

  download: async (mxc) => base64(await fetchMedia(mxc)),

  downloadEncrypted: async (file) =>
    base64(await attachments.decrypt(await fetchMedia(file.url), file)),

  thumbnail: async (mxc, width, height) => base64(await fetchMedia(mxc, width, height, "scale")),

  async logOut() {
    await client.logout(true);
  },
};

Object.assign(calls, keys.calls({ client: () => client, eventually, eventuallyAsync }));

for await (const line of createInterface({ input: process.stdin })) {
  const { id, call, with: given } = JSON.parse(line);
  Promise.resolve()
    .then(() => calls[call](...given))
    .then((result) => ({ id, result: result === undefined || result === true ? null : result }))
    .catch((error) => ({ id, error: String(error?.stack ?? error) }))
    .then((answer) => process.stdout.write(JSON.stringify(answer) + "\n"));
}
client?.stopClient();
process.exit(0);
