//! L6 and L3 against a model that knows only the rule (a request is served once it conflicts with no holder and with
//! nobody before it) and finds deadlocks by playing the rest out: everyone who can go on finishes and gives back.

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 4] = ["w", "x", "y", "z"];
const FLOWS: usize = 5;

#[derive(Clone, Debug)]
enum Step {
    Acquire { flow: usize, names: Vec<usize>, shared: bool },
    Release { flow: usize },
    Cancel { flow: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let names = proptest::collection::btree_set(0..NAMES.len(), 1..3).prop_map(|set| set.into_iter().collect());
    prop_oneof![
        6 => (0..FLOWS, names, any::<bool>()).prop_map(|(flow, names, shared)| Step::Acquire { flow, names, shared }),
        2 => (0..FLOWS).prop_map(|flow| Step::Release { flow }),
        1 => (0..FLOWS).prop_map(|flow| Step::Cancel { flow }),
    ]
}

#[derive(Clone, Debug)]
struct Claim {
    flow: usize,
    names: Vec<usize>,
    shared: bool,
}

impl Claim {
    fn conflicts(&self, other: &Self) -> bool {
        !(self.shared && other.shared) && self.names.iter().any(|name| other.names.contains(name))
    }
}

#[derive(Clone, Debug, Default)]
struct Model {
    held: Vec<Claim>,
    queue: Vec<Claim>,
}

impl Model {
    fn serve(&mut self) {
        while let Some(next) = (0..self.queue.len()).find(|index| self.is_servable(*index)) {
            let served = self.queue.remove(next);
            self.held.push(served);
        }
    }

    fn is_servable(&self, index: usize) -> bool {
        let wait = &self.queue[index];
        !self.held.iter().chain(&self.queue[..index]).any(|other| other.conflicts(wait))
    }

    fn waits(&self, flow: usize) -> bool {
        self.queue.iter().any(|wait| wait.flow == flow)
    }

    /// Plays it out: says whether everyone can finish.
    fn can_finish(mut self) -> bool {
        loop {
            self.serve();
            let Some(free) = self.held.iter().map(|held| held.flow).find(|flow| !self.waits(*flow)) else {
                return self.queue.is_empty();
            };
            self.held.retain(|held| held.flow != free);
        }
    }
}

/// The hub beside its model.
struct Pair {
    bench: Bench,
    clients: Vec<Client>,
    model: Model,
    /// What each flow waits for, and the id it asked under.
    asked: BTreeMap<usize, (Asked, RequestId)>,
    tokens: BTreeMap<usize, Vec<(Token, &'static str)>>,
    requests: u32,
    deadlocks: u32,
}

impl Pair {
    fn new() -> Self {
        let mut bench = Bench::new();
        let clients = (0..FLOWS).map(|flow| bench.client(&format!("f{flow}"))).collect();
        let (asked, tokens) = (BTreeMap::new(), BTreeMap::new());
        Self { bench, clients, model: Model::default(), asked, tokens, requests: 0, deadlocks: 0 }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Acquire { flow, .. } | Step::Release { flow } if self.model.waits(flow) => {}
            Step::Acquire { flow, names, shared } => self.acquire(Claim { flow, names, shared }),
            Step::Release { flow } => self.release_all(flow),
            Step::Cancel { flow } => {
                if let Some((_, request)) = self.asked.remove(&flow) {
                    self.model.queue.retain(|wait| wait.flow != flow);
                    let conn = self.clients[flow].conn;
                    self.bench.ask(conn, Request::Cancel { request }).expect("cancelled");
                }
            }
        }
        self.model.serve();
        self.compare();
    }

    fn acquire(&mut self, claim: Claim) {
        self.requests += 1;
        let names: Vec<_> = claim.names.iter().map(|name| NAMES[*name]).collect();
        let request = RequestId::new(self.requests.to_string());
        let acquire = Acquire {
            mode: if claim.shared { Mode::Shared } else { Mode::Exclusive },
            request: Some(request.clone()),
            ..locks(&names)
        };
        let flow = claim.flow;
        let asked = self.bench.acquire(self.clients[flow], acquire);
        let mut with = self.model.clone();
        with.queue.push(claim);
        if with.clone().can_finish() {
            self.model = with;
            self.asked.insert(flow, (asked, request));
        } else {
            let problem = self.bench.refused(asked);
            assert_eq!(problem.code, Code::Deadlock, "a deadlock went unnoticed");
            assert!(!problem.cycle.is_empty());
            self.deadlocks += 1;
        }
    }

    fn release_all(&mut self, flow: usize) {
        for (token, name) in self.tokens.remove(&flow).unwrap_or_default() {
            self.bench.release(self.clients[flow], name, token).expect("held");
        }
        self.model.held.retain(|held| held.flow != flow);
    }

    /// Whoever the model says is served was granted, and nobody else was answered.
    fn compare(&mut self) {
        let flows: Vec<_> = self.asked.keys().copied().collect();
        for flow in flows {
            let asked = self.asked[&flow].0;
            if self.model.waits(flow) {
                assert!(self.bench.waits(asked), "flow {flow} was answered: {:?}", self.bench.answer(asked));
                continue;
            }
            let grant = self.bench.granted(asked);
            let name = NAMES.into_iter().find(|name| *grant.names[0] == **name).expect("one of the names");
            self.tokens.entry(flow).or_default().push((grant.token, name));
            self.asked.remove(&flow);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn l3_l6_grants_and_deadlocks_are_those_of_the_rule(steps in proptest::collection::vec(step(), 1..60)) {
        let mut pair = Pair::new();
        for step in steps {
            pair.run(step);
        }
        // Everyone finishes, so nothing is left.
        while let Some(flow) = (0..FLOWS).find(|flow| pair.tokens.contains_key(flow) && !pair.model.waits(*flow)) {
            pair.run(Step::Release { flow });
        }
        prop_assert!(pair.model.queue.is_empty() && pair.asked.is_empty());
        prop_assert_eq!(pair.bench.hub.stats().names, 0);
    }
}

#[test]
fn l6_the_model_finds_the_simplest_deadlock() {
    let mut pair = Pair::new();
    let (first, second) = (0, 1);
    for (flow, name) in [(first, 0), (second, 1), (first, 1), (second, 0)] {
        pair.run(Step::Acquire { flow, names: vec![name], shared: false });
    }
    assert_eq!(pair.deadlocks, 1, "the model and the hub agree on what one is");
}
