//! Probes of health that the engine makes itself, and what results mean.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::spec::Healthcheck;
use crate::view::{Health, HealthStatus, Probe};

/// Probes that are kept. **Source:** moby, `daemon/health.go`, `maxLogEntries`.
const PROBES_MAX: usize = 5;
/// Bytes of output that are kept. **Source:** moby, `maxOutputLen`.
pub(crate) const OUTPUT_BYTES_MAX: usize = 4096;

/// The times of a check with the defaults filled in. **Source:** moby, `daemon/health.go`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) start_period: Duration,
    pub(crate) start_interval: Duration,
    pub(crate) retries: u32,
}

impl Times {
    pub(crate) fn of(check: &Healthcheck) -> Self {
        let or = |own: Duration, seconds| {
            if own.is_zero() { Duration::from_secs(seconds) } else { own }
        };
        Self {
            interval: or(check.interval, 30),
            timeout: or(check.timeout, 30),
            start_period: check.start_period,
            start_interval: or(check.start_interval, 5),
            retries: if check.retries == 0 { 3 } else { check.retries },
        }
    }

    /// How long to wait before the next probe, `age` after the start.
    pub(crate) fn pause(&self, age: Duration, status: HealthStatus) -> Duration {
        if status == HealthStatus::Starting && age < self.start_period { self.start_interval } else { self.interval }
    }
}

/// Whether there is something to probe.
pub(crate) fn is_enabled(check: Option<&Healthcheck>) -> bool {
    check.is_some_and(|c| c.test.first().is_some_and(|kind| kind != "NONE"))
}

/// Takes a result in; `age` is the time since the start. Answers whether the status changed.
pub(crate) fn take(health: &mut Health, probe: Probe, times: &Times, age: Duration) -> bool {
    let before = health.status;
    if probe.exit_code == 0 {
        health.status = HealthStatus::Healthy;
        health.failing_streak = 0;
    } else if before != HealthStatus::Starting || age >= times.start_period {
        health.failing_streak = health.failing_streak.saturating_add(1);
        if health.failing_streak >= times.retries {
            health.status = HealthStatus::Unhealthy;
        }
    }
    health.log.push(probe);
    let surplus = health.log.len().saturating_sub(PROBES_MAX);
    health.log.drain(..surplus);
    health.status != before
}

/// Host (none is the container), port and path of an `http://` URL.
pub(crate) fn parse_url(url: &str) -> Option<(Option<String>, u16, String)> {
    let rest = url.strip_prefix("http://")?;
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0)?),
        None => (authority, 80),
    };
    if path.contains(|c: char| c.is_control() || c == ' ') {
        return None;
    }
    let own = matches!(host, "" | "localhost" | "127.0.0.1" | "[::1]");
    Some(((!own).then(|| host.to_owned()), port, path.to_owned()))
}

/// Connects to a port of the container.
pub(crate) async fn probe_tcp(address: IpAddr, port: u16) -> (i32, String) {
    match TcpStream::connect(SocketAddr::new(address, port)).await {
        Ok(_) => (0, String::new()),
        Err(error) => (1, format!("cannot connect to port {port}: {error}")),
    }
}

/// Asks the container over HTTP; 200 to 399 is healthy.
pub(crate) async fn probe_http(address: IpAddr, url: &str) -> (i32, String) {
    let Some((host, port, path)) = parse_url(url) else {
        return (1, format!("cannot parse `{url}`"));
    };
    let ask = async {
        let mut stream = TcpStream::connect(SocketAddr::new(address, port)).await?;
        let host = host.unwrap_or_else(|| "localhost".to_owned());
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: teu\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        let limit = u64::try_from(OUTPUT_BYTES_MAX).unwrap_or(u64::MAX);
        stream.take(limit).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    match ask.await {
        Err(error) => (1, format!("cannot get `{url}`: {error}")),
        Ok(answer) => {
            let text = String::from_utf8_lossy(&answer).into_owned();
            let status = text.split(' ').nth(1).and_then(|s| s.parse::<u16>().ok());
            let sound = text.starts_with("HTTP/1.") && status.is_some_and(|s| (200..400).contains(&s));
            (i32::from(!sound), text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(exit_code: i32) -> Probe {
        Probe { exit_code, ..Probe::default() }
    }

    #[test]
    fn results_change_the_status_as_docker_does() {
        let times = Times::of(&Healthcheck { start_period: Duration::from_secs(10), ..Healthcheck::default() });
        let mut health = Health::default();
        let early = Duration::from_secs(1);
        let late = Duration::from_secs(11);
        assert!(!take(&mut health, probe(1), &times, early));
        assert_eq!(health.failing_streak, 0);
        assert!(!take(&mut health, probe(1), &times, late));
        assert!(!take(&mut health, probe(1), &times, late));
        assert!(take(&mut health, probe(1), &times, late));
        assert_eq!(health.status, HealthStatus::Unhealthy);
        assert!(take(&mut health, probe(0), &times, late));
        assert!(!take(&mut health, probe(-1), &times, early));
        assert_eq!((health.failing_streak, health.log.len()), (1, 5));
        assert_eq!(times.pause(early, HealthStatus::Starting), Duration::from_secs(5));
        assert_eq!(times.pause(late, HealthStatus::Starting), Duration::from_secs(30));
    }

    #[test]
    fn urls_parse() {
        let own = |port, path: &str| Some((None, port, path.to_owned()));
        assert_eq!(parse_url("http://localhost:8080/h?x=1"), own(8080, "/h?x=1"));
        assert_eq!(parse_url("http://localhost"), own(80, "/"));
        assert_eq!(parse_url("http://web:81/"), Some((Some("web".into()), 81, "/".into())));
        for url in ["https://a/", "http://a:0/", "http://a/\r\nX", "a"] {
            assert_eq!(parse_url(url), None, "{url}");
        }
    }

    #[tokio::test]
    async fn the_engine_probes_by_itself() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            for answer in ["", "HTTP/1.1 204 No\r\n\r\n", "HTTP/1.1 500 No\r\n\r\n"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                if !answer.is_empty() {
                    let mut head = [0; 1024];
                    let _ = stream.read(&mut head).await.unwrap();
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        let url = format!("http://localhost:{}/", address.port());
        assert_eq!(probe_tcp(address.ip(), address.port()).await.0, 0);
        assert_eq!(probe_http(address.ip(), &url).await.0, 0);
        assert_eq!(probe_http(address.ip(), &url).await.0, 1);
        server.await.unwrap();
        assert_eq!(probe_tcp(address.ip(), address.port()).await.0, 1);
    }
}
