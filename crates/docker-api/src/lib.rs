//! docker-api
