//! `[breaker]`: circuit breakers.

/// The section `[breaker]`: what a [`Breaker`](crate::resilience::Breaker) is made of.
pub use raceproof_core::resilience::breaker::Config as BreakerConfig;

#[cfg(feature = "config")]
mod section {
    use std::time::Duration;

    use raceproof_core::resilience::breaker::{Config, Threshold, Window};

    use crate::config::rooms::{ordered, some};
    use crate::config::schema::{Key, keys, sealed};
    use crate::config::setting::Setting;

    /// Among how many results a share of failures is counted where nobody says so.
    const WINDOW: Window = Window::Calls(100);

    #[expect(unnameable_types, reason = "named by a sealed trait only")]
    #[derive(Debug)]
    pub struct Values {
        failures: u32,
        rate_percent: Option<u8>,
        calls_min: u32,
        window: Option<Window>,
        open_for: Duration,
        open_for_max: Option<Duration>,
        probes: u32,
        probe_timeout: Duration,
    }

    impl Default for Values {
        fn default() -> Self {
            let Config { threshold, open_for, probes, probe_timeout, .. } = Config::default();
            let failures = if let Threshold::Consecutive(failures) = threshold { failures } else { 5 };
            Self {
                failures,
                rate_percent: None,
                calls_min: 10,
                window: None,
                open_for,
                open_for_max: None,
                probes,
                probe_timeout,
            }
        }
    }

    impl Setting for Window {
        const KIND: &'static str = "`N calls` or duration";

        fn read(text: &str) -> Result<Self, String> {
            match text.strip_suffix("calls").map(str::trim) {
                Some(calls) => u32::read(calls).map(Self::Calls),
                None => Duration::read(text).map(Self::Time).map_err(|detail| format!("{detail}, or as 100 calls")),
            }
        }

        fn show(&self) -> String {
            match self {
                Self::Calls(calls) => format!("{calls} calls"),
                Self::Time(time) => time.show(),
                other => format!("{other:?}"),
            }
        }
    }

    impl sealed::Section for Config {
        const NAME: &'static str = "breaker";
        const ABOUT: &'static str = "Circuit breakers: when to stop calling what fails.";
        type Values = Values;

        fn keys() -> Vec<Key<Values>> {
            keys![
                "failures" failures: u32, "so many failures open it: in a row, or within the window if there is one";
                "rate-percent" rate_percent: Option<u8>, "such a share of failures opens it; goes before `failures`";
                "calls-min" calls_min: u32, "for `rate-percent`: fewer results say nothing";
                "window" window: Option<Window>, "among which results failures are counted: the last so many, or the last so long; with `rate-percent` 100 calls";
                "open-for" open_for: Duration, "how long it stays open before it probes";
                "open-for-max" open_for_max: Option<Duration>, "each failed probe doubles the open period, up to this; none: it never grows";
                "probes" probes: u32, "how many calls half-open admits, all of which have to succeed";
                "probe-timeout" probe_timeout: Duration, "after how long without a verdict a probe is given up";
            ]
        }

        fn build(values: Values) -> Result<Self, String> {
            let Values { failures, rate_percent, calls_min, window, open_for, .. } = values;
            some("failures", failures == 0)?;
            some("probes", values.probes == 0)?;
            some("window", matches!(window, Some(Window::Calls(0) | Window::Time(Duration::ZERO))))?;
            let mut config = Self::default();
            config.threshold = match (rate_percent, window) {
                (Some(percent), window) => {
                    if !(1..=100).contains(&percent) {
                        return Err("rate-percent is not from 1 to 100".into());
                    }
                    Threshold::Rate { percent, calls_min, window: window.unwrap_or(WINDOW) }
                }
                (None, Some(window)) => Threshold::Failures { count: failures, window },
                (None, None) => Threshold::Consecutive(failures),
            };
            config.open_for = open_for;
            config.open_for_max = values.open_for_max.unwrap_or(open_for);
            ordered("open-for", open_for, "open-for-max", config.open_for_max)?;
            config.probes = values.probes;
            config.probe_timeout = values.probe_timeout;
            Ok(config)
        }
    }
}
