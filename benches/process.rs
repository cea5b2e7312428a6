//! The resource usage of a process, as Linux reports it.

use std::{fs, time::Duration};

use crate::Failure;

/// Ticks of the kernel's clock per second; 100 on all common Linux systems.
const TICKS: f64 = 100.0;

/// Resident memory in MiB.
pub fn memory(pid: u32) -> Result<f64, Failure> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1_024.0)
}

/// Its CPU over a while, in percent of one CPU.
pub async fn cpu(pid: u32, over: Duration) -> Result<f64, Failure> {
    let before = seconds(pid)?;
    tokio::time::sleep(over).await;
    Ok((seconds(pid)? - before) / over.as_secs_f64() * 100.0)
}

fn seconds(pid: u32) -> Result<f64, Failure> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The program's name is in brackets and may contain any character.
    let fields: Vec<&str> = stat.rsplit_once(')').ok_or("no name")?.1.split_whitespace().collect();
    let ticks = |field: usize| -> Result<f64, Failure> { Ok(fields.get(field).ok_or("too few fields")?.parse::<f64>()?) };
    Ok((ticks(11)? + ticks(12)?) / TICKS)
}
