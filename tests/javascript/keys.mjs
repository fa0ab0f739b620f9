// What a person does about keys: cross-signing, secret storage, backup, a dehydrated device,
// verification by short authentication strings or a code to scan.
import { CryptoEvent, decodeRecoveryKey } from "matrix-js-sdk/lib/crypto-api/index.js";
import { VerifierEvent } from "matrix-js-sdk/lib/crypto-api/verification.js";

const SAS = "m.sas.v1";
const QR = ["m.qr_code.show.v1", "m.qr_code.scan.v1", "m.reciprocate.v1"];

let secretKey; // of the secret storage, as the person typed it in

export const options = {
  verificationMethods: [SAS, ...QR],
  cryptoCallbacks: {
    getSecretStorageKey: async ({ keys }) => [Object.keys(keys)[0], secretKey],
    cacheSecretStorageKey: (_id, _info, key) => {
      secretKey = key;
    },
  },
};

// `tools`: the logged-in client, and the driver's `eventually`.
export function calls(tools) {
  const crypto = () => tools.client().getCrypto();
  const eventually = tools.eventually;
  const incoming = [];
  let request, verifier, sas, reciprocate, finished, outcome;

  const withPassword = (password) => async (makeRequest) => {
    try {
      await makeRequest(null);
    } catch (error) {
      if (!error.data?.session) throw error;
      const identifier = { type: "m.id.user", user: tools.client().getUserId() };
      await makeRequest({
        type: "m.login.password",
        identifier,
        password,
        session: error.data.session,
      });
    }
  };

  const backupOnServer = () =>
    tools.client().http.authedRequest("GET", "/room_keys/version", undefined, undefined, {
      prefix: "/_matrix/client/v3",
    });

  function follow(started) {
    verifier = started;
    sas = reciprocate = outcome = undefined;
    verifier.on(VerifierEvent.ShowSas, (shown) => (sas = shown));
    verifier.on(VerifierEvent.ShowReciprocateQr, (shown) => (reciprocate = shown));
    finished = verifier.verify().then(
      () => (outcome = "done"),
      (error) => (outcome = `failed: ${error}`),
    );
  }

  async function readable(roomId) {
    const room = tools.client().getRoom(roomId);
    while (await tools.client().paginateEventTimeline(room.getLiveTimeline(), { backwards: true }));
    const events = room.getLiveTimeline().getEvents();
    for (const one of events) if (one.isBeingDecrypted()) await one.getDecryptionPromise();
    return {
      texts: events.filter((one) => one.getType() === "m.room.message" && !one.isDecryptionFailure())
        .map((one) => one.getContent().body),
      unreadable: events.filter((one) => one.isDecryptionFailure()).length,
    };
  }

  return {
    watch() {
      tools.client().on(CryptoEvent.VerificationRequestReceived, (one) => incoming.push(one));
    },

    async setUpKeys(password) {
      await crypto().resetEncryption(withPassword(password));
      let made;
      await crypto().bootstrapSecretStorage({
        setupNewSecretStorage: true,
        setupNewKeyBackup: true,
        createSecretStorageKey: async () =>
          (made = await crypto().createRecoveryKeyFromPassphrase()),
      });
      secretKey = made.privateKey;
      await crypto().checkKeyBackupAndEnable();
      return made.encodedPrivateKey;
    },

    async resetCrossSigning(password) {
      await crypto().bootstrapCrossSigning({
        setupNewCrossSigning: true,
        authUploadDeviceSigningKeys: withPassword(password),
      });
    },

    async restoreBackup(recoveryKey) {
      secretKey = decodeRecoveryKey(recoveryKey);
      // The library takes private keys only where it has asked for the public ones.
      await crypto().userHasCrossSigningKeys(tools.client().getUserId(), true);
      await crypto().bootstrapCrossSigning({});
      await crypto().loadSessionBackupPrivateKeyFromSecretStorage();
      await crypto().checkKeyBackupAndEnable();
      return crypto().restoreKeyBackup();
    },

    async dehydrate(recoveryKey) {
      if (recoveryKey) secretKey = decodeRecoveryKey(recoveryKey);
      if (recoveryKey) await crypto().bootstrapCrossSigning({});
      await crypto().startDehydration({ rehydrate: true });
    },

    exportedSessions: async () =>
      (await crypto().exportRoomKeys()).map((one) => one.session_id).sort(),

    async ownKeys() {
      const id = await crypto().getCrossSigningKeyId();
      const device = await crypto().getDeviceVerificationStatus(
        tools.client().getUserId(),
        tools.client().getDeviceId(),
      );
      return { master: id, isSigned: device.signedByOwner };
    },

    deviceId: () => tools.client().getDeviceId(),

    // The driver says null for true, so these are numbers.
    isUserVerified: async (userId) =>
      Number((await crypto().getUserVerificationStatus(userId)).isCrossSigningVerified()),

    seesUserVerified: async (userId) => {
      await tools.eventuallyAsync(`${userId} verified`, async () =>
        (await crypto().getUserVerificationStatus(userId)).isCrossSigningVerified(),
      );
    },

    seesUserNotVerified: (userId) =>
      tools.eventuallyAsync(
        `${userId} not verified`,
        async () => !(await crypto().getUserVerificationStatus(userId)).isCrossSigningVerified(),
      ),

    seesBackedUp: (count) =>
      tools.eventuallyAsync(
        `${count} keys in the backup`,
        async () => (await backupOnServer()).count >= count,
      ),

    knowsDehydrated: (userId) =>
      tools.eventuallyAsync(`a dehydrated device of ${userId}`, async () => {
        const devices = (await crypto().getUserDeviceInfo([userId], true)).get(userId);
        return [...(devices?.values() ?? [])].some((one) => one.dehydrated);
      }),

    isDeviceVerified: async (userId, deviceId) =>
      Number((await crypto().getDeviceVerificationStatus(userId, deviceId))?.localVerified ?? 0),

    async knowsDevice(userId, deviceId) {
      await tools.eventuallyAsync(`${deviceId} of ${userId}`, async () =>
        (await crypto().getUserDeviceInfo([userId], true)).get(userId)?.has(deviceId),
      );
    },

    async askInRoom(userId, roomId) {
      request = await crypto().requestVerificationDM(userId, roomId);
    },

    async askDevice(userId, deviceId) {
      request = await crypto().requestDeviceVerification(userId, deviceId);
    },

    async acceptRequest() {
      request = await eventually("a request to verify", () => incoming.shift());
      await request.accept();
    },

    async startSas() {
      await eventually("a request that is ready", () => request.phase >= 3);
      if (!request.verifier) follow(await request.startVerification(SAS));
      else follow(request.verifier);
    },

    async joinSas() {
      follow(await eventually("the other's start", () => request.verifier));
    },

    async sasWords() {
      await eventually("the words to compare", () => sas ?? outcome);
      if (!sas) throw new Error(outcome);
      // The pictures: libraries call three of them by other words than the specification.
      return sas.sas.emoji.map(([picture]) => picture.replace("\uFE0F", ""));
    },

    async confirmSas() {
      await sas.confirm();
    },

    verified: async () => finished,

    async showCode() {
      await eventually("a request that is ready", () => request.phase >= 3);
      const code = await request.generateQRCode();
      return Buffer.from(code).toString("base64");
    },

    async scanCode(code) {
      await eventually("a request that is ready", () => request.phase >= 3);
      follow(await request.scanQRCode(new Uint8ClampedArray(Buffer.from(code, "base64"))));
    },

    async confirmScanned() {
      follow(await eventually("the other's scan", () => request.verifier));
      (await eventually("the question", () => reciprocate)).confirm();
    },

    async inviteSharing(roomId, userId) {
      await tools.client().invite(roomId, userId, { shareEncryptedHistory: true });
    },

    readsAll: (roomId, texts) =>
      tools.eventuallyAsync(`all of ${texts}`, async () => {
        const seen = await readable(roomId);
        return seen.unreadable === 0 && texts.every((one) => seen.texts.includes(one));
      }),

    readable,
  };
}
