// matrix-js-sdk 43 wants node 22 for this alone; node 20 runs it with these lines.
Promise.withResolvers ??= function withResolvers() {
  let resolve, reject;
  const promise = new this((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
};

// Standard output carries the answers; whatever the library logs goes to standard error.
for (const level of ["log", "info", "debug", "trace", "warn"]) {
  console[level] = (...what) => process.env.DRIVER_VERBOSE && console.error(...what);
}
