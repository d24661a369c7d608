// The frozen server as one asks it with k6: arrivals at a constant rate, each with a WebSocket of its own, for an
// iteration of k6's lasts as long as its connection. Settings: URL, RATE, SECONDS, VUS.
import exec from "k6/execution";
import { Trend } from "k6/metrics";
import { WebSocket } from "k6/experimental/websockets";

const run = new Trend("run_ms");

export const options = {
  scenarios: {
    asking: {
      executor: "constant-arrival-rate",
      rate: Number(__ENV.RATE),
      timeUnit: "1s",
      duration: `${__ENV.SECONDS}s`,
      preAllocatedVUs: Number(__ENV.VUS),
      maxVUs: Number(__ENV.VUS),
      gracefulStop: "5s",
    },
  },
};

export default function () {
  const began = Date.now();
  const name = `k6-${exec.scenario.iterationInTest}`;
  const socket = new WebSocket(__ENV.URL);
  socket.onopen = () => {
    socket.send(JSON.stringify({ id: 1, op: "run", thread_id: name, run_id: `${name}-1`, text: "hi" }));
  };
  socket.onmessage = (message) => {
    if (message.data.includes("RUN_FINISHED")) {
      run.add(Date.now() - began);
      socket.close();
    }
  };
}
