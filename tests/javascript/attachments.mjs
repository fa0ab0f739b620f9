// Encrypted attachments: AES-CTR with the key in the event.
// Spec: client-server-api#sending-encrypted-attachments
const { subtle } = globalThis.crypto;

const unpadded = (bytes) => Buffer.from(bytes).toString("base64").replace(/=+$/, "");
const cipher = (iv) => ({ name: "AES-CTR", counter: iv, length: 64 });

export async function encrypt(plaintext) {
  const iv = new Uint8Array(16);
  globalThis.crypto.getRandomValues(iv.subarray(0, 8));
  const key = await subtle.generateKey({ name: "AES-CTR", length: 256 }, true, [
    "encrypt",
    "decrypt",
  ]);
  const ciphertext = new Uint8Array(await subtle.encrypt(cipher(iv), key, plaintext));
  const hash = await subtle.digest("SHA-256", ciphertext);
  return {
    ciphertext,
    file: {
      v: "v2",
      key: await subtle.exportKey("jwk", key),
      iv: unpadded(iv),
      hashes: { sha256: unpadded(hash) },
    },
  };
}

export async function decrypt(ciphertext, file) {
  const hash = await subtle.digest("SHA-256", ciphertext);
  if (unpadded(hash) !== file.hashes.sha256.replace(/=+$/, "")) throw new Error("wrong hash");
  const jwk = { ...file.key, kty: "oct", alg: "A256CTR", ext: true };
  jwk.key_ops = ["encrypt", "decrypt"];
  const key = await subtle.importKey("jwk", jwk, { name: "AES-CTR" }, false, ["decrypt"]);
  return new Uint8Array(await subtle.decrypt(cipher(Buffer.from(file.iv, "base64")), key, ciphertext));
}
