//! The machine beside a plain model: the list of everything that happened in the present generation.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Input {
    Admit,
    /// The so-manieth admission that is out, from the oldest.
    Record(usize, bool),
    Abandon(usize),
    Wait(u64),
    Open,
    Close,
}

fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let input = prop_oneof![
        6 => Just(Input::Admit),
        6 => (0_usize..6, any::<bool>()).prop_map(|(n, ok)| Input::Record(n, ok)),
        2 => (0_usize..6).prop_map(Input::Abandon),
        4 => (0_u64..800).prop_map(Input::Wait),
        1 => Just(Input::Open),
        1 => Just(Input::Close),
    ];
    prop::collection::vec(input, 0..200)
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum ModelState {
    Closed,
    OpenUntil(u64),
    Held,
    HalfOpen,
}

/// Each admission carries the number of the generation that it was made in; results are kept as they came.
struct Model {
    state: ModelState,
    generation: usize,
    results: Vec<(u64, bool)>,
    probes_out: Vec<usize>,
    probed_at: u64,
}

const OPEN_MS: u64 = 1_000;
const LOST_MS: u64 = 700;

impl Model {
    fn enter(&mut self, state: ModelState) {
        self.state = state;
        self.generation += 1;
        self.results.clear();
        self.probes_out.clear();
    }

    fn admit(&mut self, now: u64, probes: usize, id: usize) -> bool {
        if let ModelState::OpenUntil(until) = self.state
            && now >= until
        {
            self.enter(ModelState::HalfOpen);
        }
        match self.state {
            ModelState::Closed => true,
            ModelState::OpenUntil(_) | ModelState::Held => false,
            ModelState::HalfOpen => {
                if !self.probes_out.is_empty() && now >= self.probed_at + LOST_MS {
                    self.enter(ModelState::HalfOpen);
                }
                let free = self.probes_out.len() + self.results.len() < probes;
                if free {
                    self.probes_out.push(id);
                    self.probed_at = now;
                }
                free
            }
        }
    }

    fn record(&mut self, now: u64, id: usize, ok: bool, config: &Config) {
        self.probes_out.retain(|probe| *probe != id);
        self.results.push((now, ok));
        match self.state {
            ModelState::Closed if !ok && self.too_much(now, config.threshold) => {
                self.enter(ModelState::OpenUntil(now + OPEN_MS));
            }
            ModelState::HalfOpen if !ok => self.enter(ModelState::OpenUntil(now + OPEN_MS)),
            ModelState::HalfOpen if self.results.len() == config.probes as usize => self.enter(ModelState::Closed),
            _ => {}
        }
    }

    fn too_much(&self, now: u64, threshold: Threshold) -> bool {
        let seen = |window| -> Vec<bool> {
            match window {
                Window::Calls(n) => self.results.iter().rev().take(n as usize).map(|(_, ok)| *ok).collect(),
                Window::Time(time) => {
                    let slot = time.as_millis() as u64 / 10;
                    let recent = self.results.iter().filter(|(at, _)| at / slot + 10 > now / slot);
                    recent.map(|(_, ok)| *ok).collect()
                }
            }
        };
        let failures = |seen: &[bool]| seen.iter().filter(|ok| !**ok).count();
        match threshold {
            Threshold::Consecutive(n) => self.results.iter().rev().take_while(|(_, ok)| !ok).count() >= n as usize,
            Threshold::Failures { count, window } => failures(&seen(window)) >= count as usize,
            Threshold::Rate { percent, calls_min, window } => {
                let seen = seen(window);
                seen.len() >= calls_min as usize && failures(&seen) * 100 >= usize::from(percent) * seen.len()
            }
        }
    }
}

fn thresholds() -> impl Strategy<Value = Threshold> {
    let window = || {
        prop_oneof![
            (1_u32..80).prop_map(Window::Calls),
            (1_u64..40).prop_map(|n| { Window::Time(Duration::from_millis(n * 100)) })
        ]
    };
    prop_oneof![
        (1_u32..5).prop_map(Threshold::Consecutive),
        (1_u32..5, window()).prop_map(|(count, window)| Threshold::Failures { count, window }),
        (1_u8..=100, 1_u32..6, window()).prop_map(|(percent, calls_min, window)| Threshold::Rate {
            percent,
            calls_min,
            window
        }),
    ]
}

proptest! {
    #[test]
    fn p1_it_admits_and_changes_as_the_model_does(
        threshold in thresholds(),
        probes in 1_u32..4,
        inputs in inputs(),
    ) {
        let config = Config {
            threshold,
            probes,
            open_for: Duration::from_millis(OPEN_MS),
            open_for_max: Duration::from_millis(OPEN_MS),
            probe_timeout: Duration::from_millis(LOST_MS),
        };
        let mut breaker = Breaker::new(config);
        let mut model = Model {
            state: ModelState::Closed, generation: 0, results: vec![], probes_out: vec![], probed_at: 0,
        };
        let mut now = 0_u64;
        let mut out: Vec<(usize, usize, Admission)> = Vec::new();
        let mut ids = 0_usize..;
        for input in inputs {
            let at = Time::from_millis(now);
            match input {
                Input::Admit => {
                    let id = ids.next().unwrap();
                    let admitted = breaker.admit(at);
                    prop_assert_eq!(admitted.is_ok(), model.admit(now, probes as usize, id));
                    if let Ok(admission) = admitted {
                        out.push((id, model.generation, admission));
                    }
                }
                Input::Record(n, ok) if n < out.len() => {
                    let (id, generation, admission) = out.remove(n);
                    let verdict = if ok { Verdict::Success } else { Verdict::Failure };
                    let recorded = breaker.record(at, admission, verdict);
                    prop_assert_eq!(recorded == Recorded::Stale, generation != model.generation);
                    if generation == model.generation {
                        model.record(now, id, ok, &config);
                    }
                }
                Input::Abandon(n) if n < out.len() => {
                    let (id, generation, admission) = out.remove(n);
                    breaker.abandon(admission);
                    if generation == model.generation {
                        model.probes_out.retain(|probe| *probe != id);
                    }
                }
                Input::Record(..) | Input::Abandon(_) => {}
                Input::Wait(ms) => now += ms,
                Input::Open => { breaker.open(); model.enter(ModelState::Held); }
                Input::Close => { breaker.close(); model.enter(ModelState::Closed); }
            }
            let state = match model.state {
                ModelState::Closed => State::Closed,
                ModelState::OpenUntil(_) | ModelState::Held => State::Open,
                ModelState::HalfOpen => State::HalfOpen,
            };
            prop_assert_eq!(breaker.state(), state);
        }
    }
}
