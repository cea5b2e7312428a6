//! Metrics of the process itself, under the names that Prometheus' own clients use. They are read from `/proc/self` at each scrape. What
//! cannot be read, as on other systems than Linux, is left out.

use std::fs;

use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

/// The unit of CPU times in `/proc`: the kernel's interface has it on all architectures of the image.
const TICKS_PER_SECOND: f64 = 100.0;

/// Collects the metrics at each scrape.
#[derive(Debug)]
pub(super) struct ProcessCollector {
    start: Timestamp,
}

impl ProcessCollector {
    /// Returns the collector of a process that starts now.
    pub(super) fn new() -> Self {
        Self { start: Timestamp::now() }
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let gauges = [
            ("process_start_time_seconds", "Start of the process, in seconds since the Unix epoch.", Some(self.start.as_second())),
            ("process_resident_memory_bytes", "Resident memory.", kibibytes(&status, "VmRSS:")),
            ("process_virtual_memory_bytes", "Virtual memory.", kibibytes(&status, "VmSize:")),
            ("process_threads", "Threads of the process.", field(&status, "Threads:")),
            ("process_open_fds", "Open file descriptors.", open_files()),
            ("process_max_fds", "Limit of open file descriptors.", most_files()),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
            }
        }
        if let Some(seconds) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu_seconds) {
            let name = "process_cpu_seconds";
            ConstCounter::new(seconds).encode(encoder.encode_descriptor(
                name,
                "User and system CPU time.",
                None,
                MetricType::Counter,
            )?)?;
        }
        Ok(())
    }
}

/// Returns the first number of a line that begins with `name`.
fn field(text: &str, name: &str) -> Option<i64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn kibibytes(text: &str, name: &str) -> Option<i64> {
    field(text, name)?.checked_mul(1024)
}

fn open_files() -> Option<i64> {
    // One of them is the open directory itself.
    i64::try_from(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1)).ok()
}

fn most_files() -> Option<i64> {
    field(&fs::read_to_string("/proc/self/limits").ok()?, "Max open files")
}

/// Returns the CPU time in the text of `/proc/self/stat`: the fields 14 and 15. The name in brackets may contain any character.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "4711 (a) b) (c) S 1 4711 4711 0 -1 4194560 1 2 3 4 250 50 6 7 20 0 9 0 1000 1000 100";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("4711 (a) S 1"), None);
    }
}
