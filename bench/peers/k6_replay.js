// The replay server as one asks it with k6: VUs that ask again at once over a WebSocket that they keep, and count what
// comes. Settings: URL, SECONDS, VUS, EVENTS (of each run).
import exec from "k6/execution";
import { Counter, Trend } from "k6/metrics";
import { WebSocket } from "k6/experimental/websockets";

const run = new Trend("run_ms");
const wrong = new Counter("wrong");
const events = Number(__ENV.EVENTS);

export const options = {
  scenarios: {
    asking: {
      executor: "constant-vus",
      vus: Number(__ENV.VUS),
      duration: `${__ENV.SECONDS}s`,
      gracefulStop: "0s",
    },
  },
};

export default function () {
  const thread = `t-${exec.vu.idInTest}`;
  const socket = new WebSocket(__ENV.URL);
  let asked = 0;
  let began = 0;
  let seen = 0;
  const ask = () => {
    asked += 1;
    began = Date.now();
    seen = -1; // the reply is none
    const command = { id: asked, op: "run", thread_id: thread, run_id: `${thread}-${asked}`, text: "aaaaaa" };
    socket.send(JSON.stringify(command));
  };
  socket.onopen = ask;
  socket.onmessage = (message) => {
    seen += message.data.split("\n").length;
    if (message.data.includes("RUN_FINISHED")) {
      run.add(Date.now() - began);
      if (seen !== events) {
        wrong.add(1);
      }
      ask();
    }
  };
}
