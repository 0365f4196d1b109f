// Circuit breakers of Node, for the benches of Raceproof's:
//
//   node peers.mjs time opossum closed 1000000     prints {"operations":…,"elapsed_ns":…}
//   node peers.mjs race cockatiel stampede 100     prints {"count":…}
//
// What a row or a race is, is said in bench/local/src/rooms/resilience; both sides do the same.

import { setTimeout as sleep } from "node:timers/promises";
import { ConsecutiveBreaker, circuitBreaker, handleAll } from "cockatiel";
import CircuitBreaker from "opossum";

const HOUR = 3_600_000;
const OPEN_FOR = 100;
const FAILURES = 3;

/** Each makes a breaker that opens after so many failures in a row, and returns what calls through it. */
const breakers = {
  opossum(failures, openFor) {
    // It has no rule of failures in a row; half of at least so many calls is the nearest. No timer for each call.
    const options = { errorThresholdPercentage: 50, volumeThreshold: failures, resetTimeout: openFor, timeout: false };
    const breaker = new CircuitBreaker((operation) => operation(), options);
    return (operation) => breaker.fire(operation);
  },
  cockatiel(failures, openFor) {
    const breaker = circuitBreaker(handleAll, { halfOpenAfter: openFor, breaker: new ConsecutiveBreaker(failures) });
    return (operation) => breaker.execute(operation);
  },
};

const ok = async () => 7;
const fail = async () => {
  throw new Error("failed");
};

/** Makes a call, whatever becomes of it, and says whether the operation was begun. */
async function admitted(call, operation) {
  let begun = false;
  try {
    await call(() => {
      begun = true;
      return operation();
    });
  } catch {
    // Refused, or the operation's own failure.
  }
  return begun;
}

/** Fails until it opens; opossum also counts calls that are under way. */
async function trip(call, failures) {
  let failed = 0;
  while (failed < failures && (await admitted(call, fail))) failed++;
  if (failed === 0) throw new Error("refused while closed");
  if (await admitted(call, ok)) throw new Error("it did not open");
}

async function repeat(times, body) {
  for (let time = 0; time < times / 10; time++) await body();
  const started = process.hrtime.bigint();
  for (let time = 0; time < times; time++) await body();
  return { operations: times, elapsed_ns: Number(process.hrtime.bigint() - started) };
}

const rows = {
  async closed(make, times) {
    const call = make(5, HOUR);
    let sum = 0;
    const sample = await repeat(times, async () => {
      sum += await call(ok);
    });
    if (sum < 7 * times) throw new Error("calls were not made");
    return sample;
  },
  async open(make, times) {
    const call = make(5, HOUR);
    await trip(call, 5);
    let refused = 0;
    const sample = await repeat(times, () => call(ok).catch(() => refused++));
    if (refused < times) throw new Error("calls were made");
    return sample;
  },
};

/** An operation that ends when it is told how. */
function held() {
  let end;
  const ended = new Promise((resolve, reject) => {
    end = (success) => (success ? resolve(7) : reject(new Error("failed")));
  });
  return { operation: () => ended, end };
}

/** A call from before the trip ends while a probe is under way, then the probe ends the other way. Is it open then? */
async function opensAfterLate(make, success) {
  const call = make(FAILURES, OPEN_FOR);
  const late = held();
  const lateCall = admitted(call, late.operation);
  await sleep(20);
  await trip(call, FAILURES);
  await sleep(2 * OPEN_FOR);
  const probe = held();
  const probeCall = admitted(call, probe.operation);
  await sleep(20);
  late.end(success);
  if (!(await lateCall)) throw new Error("the late call was not made");
  probe.end(!success);
  if (!(await probeCall)) throw new Error("the probe was not made");
  return !(await admitted(call, ok));
}

async function countLate(make, tries, success) {
  const open = await Promise.all(Array.from({ length: tries }, () => opensAfterLate(make, success)));
  // The probe decides: a success closes it, a failure opens it.
  return open.filter((isOpen) => isOpen !== success).length;
}

const races = {
  /** Calls that are begun before the first of a hundred has ended, right after the open period. */
  async stampede(make, callers) {
    const call = make(FAILURES, OPEN_FOR);
    await trip(call, FAILURES);
    await sleep(2 * OPEN_FOR);
    let [begun, ended] = [0, false];
    const probe = async () => {
      if (!ended) begun++;
      await sleep(OPEN_FOR);
      ended = true;
    };
    await Promise.all(Array.from({ length: callers }, () => admitted(call, probe)));
    return begun;
  },
  "late-success": (make, tries) => countLate(make, tries, true),
  "late-failure": (make, tries) => countLate(make, tries, false),
};

const [what, peer, name, number] = process.argv.slice(2);
const said =
  what === "time"
    ? await rows[name](breakers[peer], Number(number))
    : { count: await races[name](breakers[peer], Number(number)) };
console.log(JSON.stringify(said));
process.exit(0);
