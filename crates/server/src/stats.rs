//! `GET /containers/{name}/stats`.

use crate::app::App;
use crate::error::of_kind;
use crate::reply::{self, Reply};
use crate::request::Call;
use crate::{ApiError, time};
use docker_api::types::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats, Stats, TIME_ZERO, ThrottlingData,
};
use http::StatusCode;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often a stream tells the counters.
const PERIOD: Duration = Duration::from_secs(1);

impl App {
    pub(crate) async fn container_stats(&self, name: &str, call: &Call) -> Result<Reply, ApiError> {
        let container = self.lookup(name)?;
        let id = container.id.to_string();
        let name = format!("/{}", container.name);
        let stream = call.query.flag_or("stream", true);
        let one_shot = call.query.flag("one-shot");
        if stream && one_shot {
            return Err(ApiError::invalid("cannot have stream=true and one-shot=true"));
        }
        let never = || TIME_ZERO.to_owned();
        let blank = Stats { name, id: id.clone(), read: never(), preread: never(), ..Stats::default() };
        let first = self.sample(&blank, &id).await?;
        if !stream && (one_shot || first.read == blank.read) {
            return Ok(reply::json(StatusCode::OK, &first));
        }
        let (sender, answer) = reply::stream("application/json");
        let app = self.clone();
        tokio::spawn(async move {
            let mut before = first;
            if stream && sender.send(reply::line(&before, "\n")).await.is_err() {
                return;
            }
            let mut ticks = tokio::time::interval(PERIOD);
            ticks.tick().await;
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = sender.closed() => return,
                }
                let Ok(mut now) = app.sample(&blank, &id).await else {
                    return;
                };
                now.preread = std::mem::take(&mut before.read);
                now.precpu_stats = before.cpu_stats;
                if sender.send(reply::line(&now, "\n")).await.is_err() || !stream {
                    return;
                }
                before = now;
            }
        });
        Ok(answer)
    }

    /// Reads the counters once; those of a container that does not run are zero.
    async fn sample(&self, blank: &Stats, id: &str) -> Result<Stats, ApiError> {
        let counters = self.engine.stats(id).await;
        let counters = counters.map_err(|cause| of_kind(cause.kind(), &cause))?;
        Ok(match counters {
            Some(counters) => Stats { name: blank.name.clone(), id: blank.id.clone(), ..convert(counters, &self.host) },
            None => blank.clone(),
        })
    }
}

fn networks(from: &engine::Stats) -> BTreeMap<String, NetworkStats> {
    let networks = from.networks.iter().map(|(name, counters)| {
        let counters = NetworkStats {
            rx_bytes: counters.rx_bytes,
            rx_packets: counters.rx_packets,
            rx_errors: counters.rx_errors,
            rx_dropped: counters.rx_dropped,
            tx_bytes: counters.tx_bytes,
            tx_packets: counters.tx_packets,
            tx_errors: counters.tx_errors,
            tx_dropped: counters.tx_dropped,
        };
        (name.clone(), counters)
    });
    networks.collect()
}

fn block_io(from: &engine::Stats) -> BlkioStats {
    let [bytes, operations] = [&from.block_io_bytes, &from.block_io_operations].map(|entries| {
        let entries = entries.iter().map(|entry| BlkioEntry {
            major: entry.major,
            minor: entry.minor,
            op: entry.operation.to_lowercase(),
            value: entry.value,
        });
        Some(entries.collect())
    });
    BlkioStats { io_service_bytes_recursive: bytes, io_serviced_recursive: operations, ..BlkioStats::default() }
}

fn convert(from: engine::Stats, host: &crate::host::Host) -> Stats {
    Stats {
        read: time::rfc3339(i64::try_from(from.read_at).unwrap_or(0)),
        networks: networks(&from),
        pids_stats: PidsStats { current: from.pids_current, limit: from.pids_limit.unwrap_or(u64::MAX) },
        blkio_stats: block_io(&from),
        cpu_stats: CpuStats {
            cpu_usage: CpuUsage {
                total_usage: from.cpu_total_ns,
                percpu_usage: from.cpu_each_ns,
                usage_in_kernelmode: from.cpu_kernel_ns,
                usage_in_usermode: from.cpu_user_ns,
            },
            system_cpu_usage: system_cpu_ns().unwrap_or(0),
            online_cpus: u32::try_from(host.cpus).unwrap_or(1),
            throttling_data: ThrottlingData {
                periods: from.cpu_periods,
                throttled_periods: from.cpu_throttled_periods,
                throttled_time: from.cpu_throttled_ns,
            },
        },
        memory_stats: MemoryStats {
            usage: from.memory_usage,
            max_usage: from.memory_peak.unwrap_or(0),
            stats: from.memory_stat,
            failcnt: from.memory_failures,
            limit: from.memory_limit.unwrap_or_else(|| u64::try_from(host.memory_bytes).unwrap_or(0)),
        },
        preread: TIME_ZERO.to_owned(),
        ..Stats::default()
    }
}

/// Sums the processor time of the host in nanoseconds.
/// **Source:** proc_stat(5); a tick is 10 ms on all Linux systems (`USER_HZ`).
fn system_cpu_ns() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let fields = text.lines().next()?.split_whitespace().skip(1).take(7);
    let ticks = fields.map_while(|field| field.parse::<u64>().ok()).sum::<u64>();
    ticks.checked_mul(10_000_000)
}
