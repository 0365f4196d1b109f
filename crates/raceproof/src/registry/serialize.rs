//! Snapshots for serde: `{"room":"breaker","name":"payments","stats":{"state":"closed","successes":7}}`.

use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};

use super::{Observed, Stats, Value};

impl Serialize for Observed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut observed = serializer.serialize_struct("Observed", 3)?;
        observed.serialize_field("room", self.room.as_str())?;
        observed.serialize_field("name", &*self.name)?;
        observed.serialize_field("stats", &self.stats)?;
        observed.end()
    }
}

/// A map of the metrics.
impl Serialize for Stats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let metrics = self.metrics();
        let mut map = serializer.serialize_map(Some(metrics.len()))?;
        for metric in metrics {
            match metric.value {
                Value::Total(number) | Value::Number(number) => map.serialize_entry(metric.name, &number)?,
                Value::Seconds(time) => {
                    map.serialize_entry(&format_args!("{}_seconds", metric.name).to_string(), &time.as_secs_f64())?;
                }
                Value::State { is, .. } => map.serialize_entry(metric.name, is)?,
            }
        }
        map.end()
    }
}
