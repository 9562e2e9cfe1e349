//! Clients that were told that they are attached, and not yet are: a start waits for them.
//!
//! The head of an attach goes to the client before the container knows of it, and a quick client sends its start at
//! once, on another connection: without the wait the first output could be lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How long a start waits for a client that takes its time; one that hangs must not keep a container from starting.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// How many clients join which container.
#[derive(Debug, Default)]
pub(crate) struct Joining {
    count: Mutex<HashMap<String, usize>>,
    changed: Notify,
}

/// One client on its way; dropped when it has arrived, or never will.
#[derive(Debug)]
pub(crate) struct OnTheWay {
    joining: Arc<Joining>,
    container: String,
}

impl Joining {
    /// Announces a client of a container.
    pub(crate) fn announce(self: &Arc<Self>, container: &str) -> OnTheWay {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count.entry(container.to_owned()).or_default() += 1;
        OnTheWay { joining: Arc::clone(self), container: container.to_owned() }
    }

    fn is_expected(&self, container: &str) -> bool {
        self.count.lock().unwrap_or_else(PoisonError::into_inner).contains_key(container)
    }

    /// Waits until no client of the container is on its way.
    pub(crate) async fn settled(&self, container: &str) {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                if !self.is_expected(container) {
                    return;
                }
                changed.await;
            }
        };
        // Whoever comes later hears the rest.
        let _late = tokio::time::timeout(WAIT_MAX, wait).await;
    }
}

impl Drop for OnTheWay {
    fn drop(&mut self) {
        let mut count = self.joining.count.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = count.get_mut(&self.container) {
            *left -= 1;
            if *left == 0 {
                count.remove(&self.container);
            }
        }
        drop(count);
        self.joining.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_start_waits_for_whoever_is_on_the_way() {
        let joining = Arc::new(Joining::default());
        joining.settled("a").await;
        let (first, second) = (joining.announce("a"), joining.announce("a"));
        joining.settled("b").await;
        let waiting = tokio::spawn({
            let joining = Arc::clone(&joining);
            async move { joining.settled("a").await }
        });
        drop(first);
        assert!(!waiting.is_finished() && joining.is_expected("a"));
        drop(second);
        waiting.await.unwrap();
        assert!(!joining.is_expected("a"));
    }
}
