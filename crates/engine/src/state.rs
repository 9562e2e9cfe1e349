//! The life of a container as a pure machine.
//!
//! | state    | Start    | Started | Failed | Pause  | Resume  | Stop    | Ended          | Due      | Remove   |
//! |----------|----------|---------|--------|--------|---------|---------|----------------|----------|----------|
//! | Created  | Starting | –       | –      | –      | –       | –       | –              | –        | Removing |
//! | Starting | –        | Running | Exited | –      | –       | same    | Waiting/Exited | –        | –        |
//! | Running  | –        | –       | –      | Paused | –       | same    | Waiting/Exited | –        | –        |
//! | Paused   | –        | –       | –      | –      | Running | same    | Waiting/Exited | –        | –        |
//! | Waiting  | –        | –       | –      | –      | –       | Exited  | –              | Starting | –        |
//! | Exited   | Starting | –       | –      | –      | –       | same    | –              | –        | Removing |
//! | Removing | –        | –       | –      | –      | –       | –       | –              | –        | –        |

use serde::{Deserialize, Serialize};

use crate::spec::RestartPolicy;
use crate::view::Status;

/// First delay of a restart, nanoseconds. **Source:** moby, `restartmanager`, `defaultTimeout`.
const DELAY_MIN: u64 = 100_000_000;
/// Longest delay, nanoseconds.
const DELAY_MAX: u64 = 60_000_000_000;
/// A run of this many nanoseconds makes the next delay short again.
const RUN_RESET: u64 = 10_000_000_000;

/// Where in its life a container is; times are Unix times in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    /// Never started.
    #[default]
    Created,
    /// Being made, or waiting for its first instruction.
    Starting,
    /// Runs.
    Running {
        /// Since when.
        since: u64,
    },
    /// Frozen.
    Paused {
        /// Runs since.
        since: u64,
    },
    /// Waits to be started again.
    Waiting {
        /// How it ended.
        code: i32,
        /// When it starts again.
        until: u64,
    },
    /// Ended.
    Exited {
        /// How.
        code: i32,
    },
    /// Is being removed; nothing comes after it.
    Removing,
}

/// The state and what the restart policy has to remember.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Life {
    /// The state.
    pub(crate) state: State,
    /// Whether a person has stopped it since its last start.
    pub(crate) stopped_by_hand: bool,
    /// Whether it must not start again at its next end.
    pub(crate) last_run: bool,
    /// Whether it was ended for being unhealthy.
    pub(crate) unhealthy: bool,
    /// How often the policy has started it.
    pub(crate) restarts: u32,
    /// Delay of the last restart, nanoseconds.
    pub(crate) delay: u64,
}

/// What happens to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// A person asks to start it.
    Start,
    /// Its program runs.
    Started,
    /// It could not be created or started.
    Failed {
        /// Docker's exit code for that.
        code: i32,
    },
    /// It was frozen.
    Pause,
    /// It was thawed.
    Resume,
    /// A person signals it; `last_run` forbids the restart.
    Stop {
        /// Whether it must not start again at its next end.
        last_run: bool,
    },
    /// The health check gives it up.
    Unhealthy,
    /// It ended.
    Ended {
        /// How.
        code: i32,
    },
    /// The delay of a restart is over.
    Due,
    /// A person asks to remove it.
    Remove,
}

/// An input that is not allowed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The state that forbids it.
    pub(crate) state: State,
}

impl State {
    /// What observers see.
    pub(crate) fn status(self) -> Status {
        match self {
            Self::Created | Self::Starting => Status::Created,
            Self::Running { .. } => Status::Running,
            Self::Paused { .. } => Status::Paused,
            Self::Waiting { .. } => Status::Restarting,
            Self::Exited { .. } => Status::Exited,
            Self::Removing => Status::Removing,
        }
    }
}

impl Life {
    /// Goes on by one input.
    ///
    /// # Errors
    /// [`Refused`] if it is not allowed now.
    pub(crate) fn next(self, input: Input, policy: RestartPolicy, now: u64) -> Result<Self, Refused> {
        let to = |state| Ok(Self { state, ..self });
        match (self.state, input) {
            (State::Created | State::Exited { .. }, Input::Start) => Ok(Self { state: State::Starting, ..Self::default() }),
            (State::Starting, Input::Started) => to(State::Running { since: now }),
            (State::Starting, Input::Failed { code }) => to(State::Exited { code }),
            (State::Running { since }, Input::Pause) => to(State::Paused { since }),
            (State::Paused { since }, Input::Resume) => to(State::Running { since }),
            (State::Starting | State::Running { .. } | State::Paused { .. }, Input::Stop { last_run }) => {
                Ok(Self { stopped_by_hand: true, last_run: self.last_run || last_run, ..self })
            }
            (State::Exited { .. }, Input::Stop { .. }) => Ok(Self { stopped_by_hand: true, ..self }),
            (State::Waiting { code, .. }, Input::Stop { .. }) => Ok(Self { state: State::Exited { code }, stopped_by_hand: true, ..self }),
            (State::Running { .. } | State::Paused { .. }, Input::Unhealthy) => Ok(Self { unhealthy: true, ..self }),
            (State::Starting, Input::Ended { code }) => Ok(self.ended(code, policy, now, now)),
            (State::Running { since } | State::Paused { since }, Input::Ended { code }) => Ok(self.ended(code, policy, since, now)),
            (State::Waiting { .. }, Input::Due) => {
                Ok(Self { state: State::Starting, restarts: self.restarts.saturating_add(1), unhealthy: false, ..self })
            }
            (State::Created | State::Exited { .. }, Input::Remove) => to(State::Removing),
            (
                State::Created
                | State::Starting
                | State::Running { .. }
                | State::Paused { .. }
                | State::Waiting { .. }
                | State::Exited { .. }
                | State::Removing,
                Input::Start
                | Input::Started
                | Input::Failed { .. }
                | Input::Pause
                | Input::Resume
                | Input::Stop { .. }
                | Input::Unhealthy
                | Input::Ended { .. }
                | Input::Due
                | Input::Remove,
            ) => Err(Refused { state: self.state }),
        }
    }

    fn ended(self, code: i32, policy: RestartPolicy, since: u64, now: u64) -> Self {
        if self.last_run || !self.wants_restart(code, policy) {
            return Self { state: State::Exited { code }, ..self };
        }
        let long = now.saturating_sub(since) >= RUN_RESET;
        let delay = match self.delay {
            0 => DELAY_MIN,
            _ if long => DELAY_MIN,
            delay => delay.saturating_mul(2).min(DELAY_MAX),
        };
        Self { state: State::Waiting { code, until: now.saturating_add(delay) }, delay, ..self }
    }

    /// Whether the policy starts it again after an exit.
    ///
    /// **Source:** moby, `restartmanager.ShouldRestart`.
    fn wants_restart(&self, code: i32, policy: RestartPolicy) -> bool {
        let left = |max: u32| max == 0 || self.restarts < max;
        match policy {
            RestartPolicy::No => false,
            RestartPolicy::Always => true,
            RestartPolicy::UnlessStopped => !self.stopped_by_hand,
            RestartPolicy::OnFailure { retries_max } => code != 0 && left(retries_max),
            RestartPolicy::OnUnhealthy { retries_max } => (code != 0 || self.unhealthy) && left(retries_max),
        }
    }

    /// Whether it is started when the engine starts and finds it ended.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other policies all decide by the exit")]
    pub(crate) fn wants_start_with_engine(&self, policy: RestartPolicy) -> bool {
        match self.state {
            State::Exited { code } | State::Waiting { code, .. } => match policy {
                RestartPolicy::Always => true,
                _ => !self.stopped_by_hand && self.wants_restart(code, policy),
            },
            State::Created | State::Starting | State::Running { .. } | State::Paused { .. } | State::Removing => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn running(policy: RestartPolicy) -> Life {
        let life = Life::default().next(Input::Start, policy, 0).unwrap();
        life.next(Input::Started, policy, 0).unwrap()
    }

    #[test]
    fn the_delay_doubles_up_to_a_minute_and_falls_back_after_a_long_run() {
        let policy = RestartPolicy::Always;
        let mut life = running(policy);
        let mut delays = Vec::new();
        for _ in 0..12 {
            life = life.next(Input::Ended { code: 1 }, policy, 0).unwrap();
            delays.push(life.delay / 1_000_000);
            life = life.next(Input::Due, policy, 0).unwrap();
            life = life.next(Input::Started, policy, 0).unwrap();
        }
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
        assert_eq!(life.restarts, 12);
        let life = life.next(Input::Ended { code: 1 }, policy, 10 * SECOND);
        assert_eq!(life.unwrap().delay, DELAY_MIN);
    }

    #[test]
    fn policies_decide_as_docker_does() {
        let after = |policy, code| {
            let life = running(policy).next(Input::Ended { code }, policy, 0);
            matches!(life.unwrap().state, State::Waiting { .. })
        };
        assert!(!after(RestartPolicy::No, 1));
        assert!(after(RestartPolicy::Always, 0) && after(RestartPolicy::UnlessStopped, 0));
        let on_failure = RestartPolicy::OnFailure { retries_max: 0 };
        assert!(after(on_failure, 1) && !after(on_failure, 0));
        let unhealthy = RestartPolicy::OnUnhealthy { retries_max: 0 };
        assert!(!after(unhealthy, 0));
        let life = running(unhealthy).next(Input::Unhealthy, unhealthy, 0).unwrap();
        let life = life.next(Input::Ended { code: 0 }, unhealthy, 0).unwrap();
        assert!(matches!(life.state, State::Waiting { .. }));
    }

    #[test]
    fn retries_are_counted() {
        let policy = RestartPolicy::OnFailure { retries_max: 2 };
        let mut life = running(policy);
        for _ in 0..2 {
            life = life.next(Input::Ended { code: 1 }, policy, 0).unwrap();
            life = life.next(Input::Due, policy, 0).unwrap();
            life = life.next(Input::Started, policy, 0).unwrap();
        }
        life = life.next(Input::Ended { code: 1 }, policy, 0).unwrap();
        assert_eq!(life.state, State::Exited { code: 1 });
    }

    #[test]
    fn a_stop_by_hand_ends_it_and_outlives_the_engine_where_it_should() {
        for (policy, again) in [
            (RestartPolicy::Always, true),
            (RestartPolicy::UnlessStopped, false),
            (RestartPolicy::OnFailure { retries_max: 0 }, false),
            (RestartPolicy::No, false),
        ] {
            let stop = Input::Stop { last_run: true };
            let life = running(policy).next(stop, policy, 0).unwrap();
            let life = life.next(Input::Ended { code: 137 }, policy, 0).unwrap();
            assert_eq!(life.state, State::Exited { code: 137 });
            assert_eq!(life.wants_start_with_engine(policy), again, "{policy}");
        }
        assert!(!Life::default().wants_start_with_engine(RestartPolicy::Always));
    }

    fn inputs() -> impl Strategy<Value = Input> {
        prop_oneof![
            Just(Input::Start),
            Just(Input::Started),
            (0..256).prop_map(|code| Input::Failed { code }),
            Just(Input::Pause),
            Just(Input::Resume),
            any::<bool>().prop_map(|last_run| Input::Stop { last_run }),
            Just(Input::Unhealthy),
            (0..256).prop_map(|code| Input::Ended { code }),
            Just(Input::Due),
            Just(Input::Remove),
        ]
    }

    fn policies() -> impl Strategy<Value = RestartPolicy> {
        prop_oneof![
            Just(RestartPolicy::No),
            Just(RestartPolicy::Always),
            Just(RestartPolicy::UnlessStopped),
            (0..4_u32).prop_map(|retries_max| RestartPolicy::OnFailure { retries_max }),
            (0..4_u32).prop_map(|retries_max| RestartPolicy::OnUnhealthy { retries_max }),
        ]
    }

    proptest! {
        #[test]
        fn any_history_keeps_the_promises(
            policy in policies(),
            steps in proptest::collection::vec((inputs(), 0..20_u64), 0..60),
        ) {
            let (mut life, mut now) = (Life::default(), SECOND);
            // The model: is a process alive, and may it start again?
            let mut alive = false;
            for (input, seconds) in steps {
                now += seconds * SECOND;
                let before = life;
                match life.next(input, policy, now) {
                    Err(refused) => prop_assert_eq!(refused.state, before.state),
                    Ok(after) => {
                        prop_assert!(before.state != State::Removing);
                        match input {
                            Input::Start | Input::Due => { prop_assert!(!alive); alive = true; }
                            Input::Failed { .. } | Input::Ended { .. } => { prop_assert!(alive); alive = false; }
                            Input::Remove => prop_assert!(!alive),
                            Input::Started | Input::Pause | Input::Resume | Input::Unhealthy => prop_assert!(alive),
                            Input::Stop { .. } => {}
                        }
                        let shows_alive = matches!(after.state, State::Starting | State::Running { .. } | State::Paused { .. });
                        prop_assert_eq!(shows_alive, alive);
                        if let State::Waiting { until, .. } = after.state {
                            prop_assert!(policy != RestartPolicy::No);
                            if matches!(input, Input::Ended { .. }) {
                                prop_assert!(!before.last_run);
                                prop_assert!((now + DELAY_MIN..=now + DELAY_MAX).contains(&until));
                            }
                        }
                        let max = policy.retries_max();
                        prop_assert!(max == 0 || after.restarts <= max);
                        life = after;
                    }
                }
            }
        }
    }
}
