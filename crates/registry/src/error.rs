//! Why a registry did not do what was asked; texts are Docker's where Docker has one.

use http::StatusCode;
use oci::Digest;

/// What a failure means for who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The repository, manifest or blob is not there.
    NotFound,
    /// Access is refused.
    Denied,
    /// Credentials are missing or wrong.
    Unauthorized,
    /// Too many requests.
    RateLimited,
    /// The host cannot be reached, or ended before it had said all.
    Unreachable,
    /// What it said makes no sense, or is not what was asked for.
    Invalid,
    /// The settings of this host are wrong.
    Settings,
}

/// Says why a registry did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No connection; the text is Go's, which scripts look for.
    #[error("{verb} \"{url}\": {reason}")]
    Reach {
        /// `Get`, `Head` and so on.
        verb: String,
        /// The whole address.
        url: String,
        /// Why not.
        reason: String,
        /// Whether a further attempt may help.
        passing: bool,
    },
    /// No byte came for too long.
    #[error("{url}: no data for {seconds} s: the registry or the network stalls")]
    Stalled {
        /// The address.
        url: String,
        /// Seconds that were waited.
        seconds: u64,
    },
    /// A body ended before its end.
    #[error("{url}: the connection ended after {received} of {expected} bytes: {reason}")]
    Cut {
        /// The address.
        url: String,
        /// Bytes that came.
        received: u64,
        /// Bytes that were promised.
        expected: u64,
        /// The cause.
        reason: String,
    },
    /// The registry refused; `text` is its own.
    #[error("{text}")]
    Refused {
        /// The address.
        url: String,
        /// HTTP status.
        status: StatusCode,
        /// The registry's code in upper case, such as `MANIFEST_UNKNOWN`; empty where it gave none.
        code: String,
        /// Code and message as Docker prints them.
        text: String,
    },
    /// Too many requests.
    #[error("toomanyrequests: {message}{limits}")]
    RateLimited {
        /// The host.
        host: String,
        /// The registry's own words.
        message: String,
        /// What its headers say, in plain words.
        limits: String,
        /// Seconds until the next attempt makes sense, where it says so.
        retry_after: Option<u64>,
    },
    /// No credentials are known, or they are refused.
    #[error("{verb} \"{url}\": {reason}")]
    Unauthorized {
        /// `Get`, `Head` and so on.
        verb: String,
        /// The address.
        url: String,
        /// Why.
        reason: String,
    },
    /// A login was refused.
    #[error("login attempt to {url} failed with status: {status}")]
    Login {
        /// The address.
        url: String,
        /// Status with its words.
        status: String,
    },
    /// The answer is of another kind, such as a web page.
    #[error("{url}: the answer is `{kind}`, not {wanted}: is this a registry?")]
    Kind {
        /// The address.
        url: String,
        /// Its media type.
        kind: String,
        /// What was expected.
        wanted: &'static str,
    },
    /// The answer cannot be understood.
    #[error("{url}: {reason}")]
    Invalid {
        /// The address.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// A document is larger than any sound one.
    #[error("{url}: the answer is larger than {max} bytes")]
    TooLarge {
        /// The address.
        url: String,
        /// The bound.
        max: u64,
    },
    /// A blob's size is another than its manifest says.
    #[error("{url}: {digest} has {actual} bytes, its manifest says {expected}")]
    Size {
        /// The address.
        url: String,
        /// The blob.
        digest: Digest,
        /// What the manifest says.
        expected: u64,
        /// What comes, such as `more`.
        actual: String,
    },
    /// The bytes have another digest.
    #[error("{url}: content does not match its digest: expected {expected}, got {actual}")]
    Digest {
        /// The address.
        url: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// Redirects without end, or to where none may lead.
    #[error("{url}: {reason}")]
    Redirect {
        /// The address.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// A file of settings is wrong.
    #[error("cannot use `{file}`: {reason}")]
    Settings {
        /// The file or the setting.
        file: String,
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    /// Tells what the failure means.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Refused { status, code, .. } => match (code.as_str(), *status) {
                ("DENIED", _) | (_, StatusCode::FORBIDDEN) => Kind::Denied,
                ("UNAUTHORIZED", _) | (_, StatusCode::UNAUTHORIZED) => Kind::Unauthorized,
                ("MANIFEST_UNKNOWN" | "NAME_UNKNOWN" | "BLOB_UNKNOWN", _) | (_, StatusCode::NOT_FOUND) => Kind::NotFound,
                _ => Kind::Invalid,
            },
            Self::RateLimited { .. } => Kind::RateLimited,
            Self::Unauthorized { .. } | Self::Login { .. } => Kind::Unauthorized,
            Self::Reach { .. } | Self::Stalled { .. } | Self::Cut { .. } => Kind::Unreachable,
            Self::Settings { .. } => Kind::Settings,
            Self::Kind { .. }
            | Self::Invalid { .. }
            | Self::TooLarge { .. }
            | Self::Size { .. }
            | Self::Digest { .. }
            | Self::Redirect { .. } => Kind::Invalid,
        }
    }

    /// The registry's code, such as `NAME_UNKNOWN`, where it gave one.
    #[must_use]
    pub fn code(&self) -> &str {
        if let Self::Refused { code, .. } = self { code } else { "" }
    }

    /// Whether the same request may succeed a little later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Reach { passing, .. } => *passing,
            Self::Stalled { .. } | Self::Cut { .. } => true,
            Self::Refused { status, .. } => status.is_server_error() && *status != StatusCode::NOT_IMPLEMENTED,
            Self::RateLimited { retry_after, .. } => retry_after.is_some_and(|seconds| seconds <= RETRY_AFTER_SECONDS_MAX),
            Self::Unauthorized { .. }
            | Self::Login { .. }
            | Self::Kind { .. }
            | Self::Invalid { .. }
            | Self::TooLarge { .. }
            | Self::Size { .. }
            | Self::Digest { .. }
            | Self::Redirect { .. }
            | Self::Settings { .. } => false,
        }
    }
}

/// Longest pause that a registry may ask for before a person is told instead.
const RETRY_AFTER_SECONDS_MAX: u64 = 5;

/// A code of the specification in Docker's small words: `MANIFEST_UNKNOWN` is `manifest unknown`.
///
/// **Source:** distribution, `registry/api/errcode/register.go`: `Value` in capitals; `Error()` prints it in lower case.
pub(crate) fn words(code: &str) -> String {
    code.to_lowercase().replace('_', " ")
}
