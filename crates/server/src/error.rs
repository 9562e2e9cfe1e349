//! Errors as the API shows them.

use http::StatusCode;

/// A status and the one sentence of `{"message": …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The status; Docker's clients act on it.
    pub status: StatusCode,
    /// The sentence; the CLI looks for some words in it.
    pub message: String,
}

impl ApiError {
    /// Makes an error of any status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// Makes a 400.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// Makes a 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// Makes a 409.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// Makes a 500.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// Makes a 501.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }

    /// Makes an error from any other, with its causes behind colons as Docker writes them.
    pub fn from_error(status: StatusCode, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(status, chain(error))
    }
}

/// Makes an error of the engine's kinds.
pub(crate) fn of_kind(kind: engine::ErrorKind, error: &(dyn std::error::Error + 'static)) -> ApiError {
    use engine::ErrorKind as Kind;
    let status = match kind {
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::NotModified => StatusCode::NOT_MODIFIED,
        Kind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    ApiError::from_error(status, error)
}

/// Writes an error and its causes in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

impl From<docker_api::filters::FiltersError> for ApiError {
    fn from(error: docker_api::filters::FiltersError) -> Self {
        Self::invalid(error.to_string())
    }
}
