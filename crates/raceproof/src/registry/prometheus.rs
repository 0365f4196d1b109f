//! The registry as a collector of metrics for Prometheus.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Unit;

use super::{Metric, Registry, Value};

/// Metrics of every instance, for a [`prometheus_client`] registry; from [`Registry::collector`].
///
/// Names are `raceproof_ROOM_METRIC`, with `_total` where it only grows and `_seconds` where it is a time. The label
/// `name` is the instance's. A state is one series for each value that it can have, which is 1 for the one that it has.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
}

/// A metric of all instances of a room.
struct Family {
    about: &'static str,
    values: Vec<(Arc<str>, Value)>,
}

impl Registry {
    /// Metrics for a registry of `prometheus_client`:
    ///
    /// ```
    /// let registry = raceproof::registry::Registry::new();
    /// registry.breaker("payments");
    /// let mut metrics = prometheus_client::registry::Registry::default();
    /// metrics.register_collector(Box::new(registry.collector()));
    /// let mut page = String::new();
    /// prometheus_client::encoding::text::encode(&mut page, &metrics)?;
    /// assert!(page.contains(r#"raceproof_breaker_refused_total{name="payments"} 0"#));
    /// # Ok::<_, std::fmt::Error>(())
    /// ```
    #[must_use]
    pub fn collector(&self) -> Metrics {
        Metrics { registry: self.clone() }
    }

    /// A page for Prometheus to scrape, in the OpenMetrics text format.
    #[must_use]
    pub fn prometheus_page(&self) -> String {
        let mut metrics = prometheus_client::registry::Registry::default();
        metrics.register_collector(Box::new(self.collector()));
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &metrics).expect("a string takes all that is written");
        page
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        for (name, family) in self.families() {
            let kind = match family.values.first() {
                Some((_, Value::Total(_))) => MetricType::Counter,
                _ => MetricType::Gauge,
            };
            let is_time = matches!(family.values.first(), Some((_, Value::Seconds(_))));
            let mut metric = encoder.encode_descriptor(&name, family.about, is_time.then_some(&Unit::Seconds), kind)?;
            for (instance, value) in family.values {
                write(&mut metric, &instance, value)?;
            }
        }
        Ok(())
    }
}

impl Metrics {
    /// Every metric once, with the values of all instances: the format wants them together.
    fn families(&self) -> BTreeMap<String, Family> {
        let mut families = BTreeMap::new();
        for observed in self.registry.stats() {
            for Metric { name, about, value } in observed.stats.metrics() {
                let name = format!("raceproof_{}_{name}", observed.room);
                let family = families.entry(name).or_insert_with(|| Family { about, values: Vec::new() });
                family.values.push((Arc::clone(&observed.name), value));
            }
        }
        families
    }
}

fn write(metric: &mut MetricEncoder<'_>, instance: &str, value: Value) -> fmt::Result {
    let labels = [("name", instance)];
    match value {
        Value::Total(total) => {
            metric.encode_family(&labels)?.encode_counter(&total, None::<&Exemplar<[(&str, &str); 1], u64>>)
        }
        Value::Number(number) => metric.encode_family(&labels)?.encode_gauge(&number),
        Value::Seconds(time) => metric.encode_family(&labels)?.encode_gauge(&time.as_secs_f64()),
        Value::State { is, of } => {
            for state in of {
                let labels = [("name", instance), ("state", state)];
                metric.encode_family(&labels)?.encode_gauge(&u64::from(*state == is))?;
            }
            Ok(())
        }
    }
}
