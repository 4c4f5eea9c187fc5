// A server of the Fluent organisation's Node library on a loopback port; prints each entry as a JSON line.
// Arguments: the port, and the security options as JSON or nothing.
const { FluentServer } = require("@fluent-org/logger");

const [port, security] = process.argv.slice(2);
const server = new FluentServer({
  listenOptions: { port: Number(port), host: "127.0.0.1" },
  security: security ? JSON.parse(security) : undefined,
});
server.on("entry", (tag, time, record) => {
  console.log(JSON.stringify({ tag, seconds: time.epoch, nanoseconds: time.nano, record }));
});
server.listen();
