// Sliding sync as a client with one list of all its rooms uses it.
import { SlidingSync } from "matrix-js-sdk/lib/sliding-sync.js";

const POLL_MS = 10_000;
const WISH = {
  timeline_limit: 20,
  required_state: [
    ["m.room.member", "$LAZY"],
    ["m.room.member", "$ME"],
    ["*", "*"],
  ],
};

export function sliding(baseUrl, client) {
  const lists = new Map([["all", { ...WISH, ranges: [[0, 19]] }]]);
  return new SlidingSync(baseUrl, lists, WISH, client, POLL_MS);
}
