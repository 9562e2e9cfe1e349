//! Events: a bounded journal in memory and those who listen.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;

/// Events that are kept and that a listener may lag behind.
const EVENTS_MAX: usize = 1024;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A network.
    Network,
    /// A volume.
    Volume,
    /// The engine.
    Daemon,
}

impl EventKind {
    /// Docker's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Daemon => "daemon",
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it is about.
    pub kind: EventKind,
    /// Docker's word for what happened, such as `die`.
    pub action: String,
    /// Id or name of what it is about.
    pub id: String,
    /// Attributes.
    pub attributes: BTreeMap<String, String>,
    /// Unix time in nanoseconds.
    pub time: u64,
}

/// The journal; a cheap handle.
#[derive(Clone, Debug)]
pub struct Events(Arc<Journal>);

#[derive(Debug)]
struct Journal {
    kept: Mutex<VecDeque<Arc<Event>>>,
    sender: broadcast::Sender<Arc<Event>>,
}

impl Default for Events {
    fn default() -> Self {
        Self(Arc::new(Journal { kept: Mutex::new(VecDeque::with_capacity(64)), sender: broadcast::channel(EVENTS_MAX).0 }))
    }
}

/// Events from some time on, in order.
#[derive(Debug)]
pub struct EventStream {
    past: VecDeque<Arc<Event>>,
    live: Option<broadcast::Receiver<Arc<Event>>>,
    until: Option<u64>,
}

impl Events {
    /// Writes an event down and tells all listeners.
    pub fn publish(&self, kind: EventKind, action: &str, id: impl Into<String>, attributes: BTreeMap<String, String>) {
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let event = Arc::new(Event { kind, action: action.to_owned(), id: id.into(), attributes, time: crate::now() });
        if kept.len() == EVENTS_MAX {
            kept.pop_front();
        }
        kept.push_back(event.clone());
        // Under the lock, so that a new listener neither misses nor doubles an event. It fails
        // only if nobody listens.
        let _ = self.0.sender.send(event);
    }

    /// Listens: first those since a time (none: only new ones), then new ones until a time.
    #[must_use]
    pub fn listen(&self, since: Option<u64>, until: Option<u64>) -> EventStream {
        let kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let in_time = |event: &&Arc<Event>| since.is_some_and(|since| event.time >= since) && until.is_none_or(|until| event.time <= until);
        let over = until.is_some_and(|until| until <= crate::now());
        EventStream { past: kept.iter().filter(in_time).cloned().collect(), live: (!over).then(|| self.0.sender.subscribe()), until }
    }
}

impl EventStream {
    /// The next event; none at the end. A listener that is too slow misses events.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        if let Some(event) = self.past.pop_front() {
            return Some(event);
        }
        let live = self.live.as_mut()?;
        let until = self.until;
        let receive = async {
            loop {
                match live.recv().await {
                    Ok(event) => return Some(event),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        };
        let event = match until {
            None => receive.await,
            Some(until) => {
                let left = std::time::Duration::from_nanos(until.saturating_sub(crate::now()));
                tokio::time::timeout(left, receive).await.ok().flatten()
            }
        };
        if event.is_none() {
            self.live = None;
        }
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn listeners_get_past_and_new_events_once_each() {
        let events = Events::default();
        let publish = |action: &str| {
            events.publish(EventKind::Container, action, "a", BTreeMap::new());
        };
        publish("create");
        let mut stream = events.listen(Some(0), None);
        let mut only_new = events.listen(None, None);
        publish("start");
        assert_eq!(stream.next().await.unwrap().action, "create");
        assert_eq!(stream.next().await.unwrap().action, "start");
        assert_eq!(only_new.next().await.unwrap().action, "start");
        let mut over = events.listen(Some(0), Some(crate::now()));
        assert!(over.next().await.is_some() && over.next().await.is_some());
        assert!(over.next().await.is_none());
    }

    #[tokio::test]
    async fn the_journal_is_bounded() {
        let events = Events::default();
        for _ in 0..EVENTS_MAX + 10 {
            events.publish(EventKind::Image, "tag", "a", BTreeMap::new());
        }
        let mut stream = events.listen(Some(0), Some(crate::now()));
        let mut count = 0;
        while stream.next().await.is_some() {
            count += 1;
        }
        assert_eq!(count, EVENTS_MAX);
    }
}
