//! Instances by name: one of each, whoever asks at the same moment.

use std::time::Duration;

use raceproof::config::ThrottleConfig;
use raceproof::registry::{Registry, RegistryError};
use raceproof::resilience::breaker::State;
use shuttle::thread;

use super::check;

#[test]
fn a_name_is_one_instance_for_all_who_ask_at_once() {
    check(|| {
        let registry = Registry::new();
        let asks = |registry: Registry| move || registry.breaker("payments");
        let threads: Vec<_> = (0..3).map(|_| thread::spawn(asks(registry.clone()))).collect();
        let breakers: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect();
        breakers[0].open();
        for breaker in &breakers {
            assert_eq!(breaker.state(), State::Open);
        }
        assert_eq!(registry.list().len(), 1);
    });
}

#[test]
fn of_two_configurations_for_one_name_one_is_refused() {
    check(|| {
        let registry = Registry::new();
        let asks = |registry: Registry, secs| {
            move || {
                let mut config = ThrottleConfig::default();
                config.every = Duration::from_secs(secs);
                registry.throttle_with("poll", config).map(drop)
            }
        };
        let threads = [1, 2].map(|secs| thread::spawn(asks(registry.clone(), secs)));
        let watches = thread::spawn({
            let registry = registry.clone();
            // Whatever it sees is whole.
            move || registry.stats().len()
        });
        let asked = threads.map(|thread| thread.join().expect("no thread panics"));
        assert_eq!(asked.iter().filter(|asked| asked.is_ok()).count(), 1);
        assert!(asked.iter().any(|asked| matches!(asked, Err(RegistryError::Conflict { .. }))));
        assert!(watches.join().expect("it does not panic") <= 1);
    });
}
