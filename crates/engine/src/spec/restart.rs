//! When a container starts again by itself.

use std::fmt;

use serde::{Deserialize, Serialize};

/// When a container starts again by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// After each exit, and when the engine starts.
    Always,
    /// As always, but not when the engine starts after a person has stopped it.
    UnlessStopped,
    /// After an exit with an error.
    OnFailure {
        /// How often; 0 is without end.
        retries_max: u32,
    },
    /// After an exit with an error and when it becomes unhealthy; Docker lacks this one.
    OnUnhealthy {
        /// How often; 0 is without end.
        retries_max: u32,
    },
}

/// A policy that cannot be used; the texts are Docker's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseRestartPolicyError {
    /// No such policy.
    #[error("invalid restart policy: unknown policy '{0}'; use one of 'no', 'always', 'on-failure', 'unless-stopped', or 'unhealthy'")]
    Unknown(String),
    /// A count where none belongs.
    #[error("invalid restart policy: maximum retry count can only be used with 'on-failure'")]
    CountNotAllowed,
    /// A count below zero.
    #[error("invalid restart policy: maximum retry count cannot be negative")]
    NegativeCount,
}

impl RestartPolicy {
    /// Parses a name (empty is `no`) and a count.
    ///
    /// # Errors
    /// [`ParseRestartPolicyError`].
    pub fn parse(name: &str, retries_max: i64) -> Result<Self, ParseRestartPolicyError> {
        let counted = matches!(name, "on-failure" | "unhealthy" | "on-unhealthy");
        if retries_max != 0 && !counted {
            return Err(ParseRestartPolicyError::CountNotAllowed);
        }
        if retries_max < 0 {
            return Err(ParseRestartPolicyError::NegativeCount);
        }
        let retries_max = u32::try_from(retries_max).unwrap_or(u32::MAX);
        match name {
            "" | "no" => Ok(Self::No),
            "always" => Ok(Self::Always),
            "unless-stopped" => Ok(Self::UnlessStopped),
            "on-failure" => Ok(Self::OnFailure { retries_max }),
            "unhealthy" | "on-unhealthy" => Ok(Self::OnUnhealthy { retries_max }),
            other => Err(ParseRestartPolicyError::Unknown(other.to_owned())),
        }
    }

    /// Docker's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Always => "always",
            Self::UnlessStopped => "unless-stopped",
            Self::OnFailure { .. } => "on-failure",
            Self::OnUnhealthy { .. } => "unhealthy",
        }
    }

    /// How often it starts again; 0 is without end.
    #[must_use]
    pub fn retries_max(self) -> u32 {
        match self {
            Self::No | Self::Always | Self::UnlessStopped => 0,
            Self::OnFailure { retries_max } | Self::OnUnhealthy { retries_max } => retries_max,
        }
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
