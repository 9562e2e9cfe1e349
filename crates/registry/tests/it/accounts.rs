//! Challenges, tokens and refusals.

use registry::{Client, Credentials, Error, Kind};
use testkit::faulty::{Answer, Faulty, Sample};

use crate::{name, session, settings};

fn account() -> Credentials {
    Credentials { username: "u".to_owned(), password: "p".to_owned(), ..Credentials::default() }
}

/// A registry that takes the token `right`, and its token server under the same address.
fn with_tokens(realm_query: &'static str) -> Faulty {
    let sample = Sample::new(1, 10).unwrap();
    Faulty::start(move |request| {
        let host = request.header("host").to_owned();
        if request.path.starts_with("/token") {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            let known = request.header("authorization") == "Basic dTpw" || body.contains("refresh_token=identity");
            return match known {
                true => Answer::new(200, "application/json", r#"{"token":"right","refresh_token":"kept","expires_in":60}"#),
                false => Answer::new(401, "application/json", r#"{"details":"incorrect username or password"}"#),
            };
        }
        if request.header("authorization") == "Bearer right" {
            return sample.answer(request);
        }
        let challenge = format!(r#"Bearer realm="http://{host}/token{realm_query}",service="registry",scope="repository:x:pull""#);
        Answer::error(401, "UNAUTHORIZED", "authentication required").with("WWW-Authenticate", &challenge)
    })
    .unwrap()
}

#[tokio::test]
async fn a_token_is_fetched_once_and_used_again() {
    let server = with_tokens("");
    let session = Client::new(settings()).session(server.address(), account()).unwrap();
    session.manifest(&name(&server, "x:1")).await.unwrap();
    session.manifest(&name(&server, "x:1")).await.unwrap();
    let asked = server.requests();
    let tokens: Vec<&str> =
        asked.iter().filter(|request| request.path.starts_with("/token")).map(|request| request.path.as_str()).collect();
    assert_eq!(tokens, ["/token?service=registry&scope=repository%3Ax%3Apull&account=u"]);
    assert_eq!(session.login().await.unwrap().as_deref(), Some("kept"));
    let identity = Credentials { identitytoken: "identity".to_owned(), ..Credentials::default() };
    let session = Client::new(settings()).session(server.address(), identity).unwrap();
    session.manifest(&name(&server, "x:1")).await.unwrap();
    let asked = server.requests();
    let post = asked.iter().find(|request| request.method == "POST").unwrap();
    assert!(String::from_utf8_lossy(&post.body).contains("grant_type=refresh_token"), "{post:?}");
    let ready = Credentials { registrytoken: "right".to_owned(), ..Credentials::default() };
    let session = Client::new(settings()).session(server.address(), ready).unwrap();
    session.manifest(&name(&server, "x:1")).await.unwrap();
}

#[tokio::test]
async fn wrong_accounts_are_told_so() {
    let server = with_tokens("?a=b");
    let wrong = Credentials { password: "wrong".to_owned(), ..account() };
    let session = Client::new(settings()).session(server.address(), wrong).unwrap();
    let error = session.login().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized);
    assert_eq!(error.to_string(), format!("Get \"http://{}/v2/\": unauthorized: incorrect username or password", server.address()));
    assert!(server.requests().iter().any(|request| request.path.starts_with("/token?a=b&service=")));
}

#[tokio::test]
async fn a_registry_that_refuses_every_answer_is_asked_twice() {
    for challenge in ["Basic realm=\"x\"", "Bearer realm=\"http://HOST/token\""] {
        let server = Faulty::start(move |request| {
            if request.path.starts_with("/token") {
                return Answer::new(200, "application/json", r#"{"token":"never enough"}"#);
            }
            let challenge = challenge.replace("HOST", request.header("host"));
            Answer::error(401, "UNAUTHORIZED", "authentication required").with("WWW-Authenticate", &challenge)
        });
        let server = server.unwrap();
        let session = Client::new(settings()).session(server.address(), account()).unwrap();
        let error = session.manifest(&name(&server, "x:1")).await.unwrap_err();
        assert_eq!(error.to_string(), "unauthorized: authentication required");
        assert_eq!(error.kind(), Kind::Unauthorized);
        assert_eq!(server.requests().iter().filter(|request| request.path.contains("/manifests/")).count(), 2);
    }
}

#[tokio::test]
async fn nobody_knows_an_account_that_is_not_given() {
    let server =
        Faulty::start(|_| Answer::error(401, "UNAUTHORIZED", "authentication required").with("WWW-Authenticate", "Basic realm=\"x\""));
    let server = server.unwrap();
    let error = session(&server).manifest(&name(&server, "x:1")).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    assert!(error.to_string().ends_with("no basic auth credentials"), "{error}");
    let denied = Faulty::start(|_| Answer::error(403, "DENIED", "requested access to the resource is denied")).unwrap();
    let error = session(&denied).manifest(&name(&denied, "x:1")).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Denied, "denied: requested access to the resource is denied"));
}

#[tokio::test]
async fn a_registry_is_trusted_by_its_own_authority_only() {
    use oci::ImageRef;
    use registry::{Settings, Times};
    use testkit::registry::{Access, Registry};
    let server = Registry::start(Access::Tls).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join(server.address());
    std::fs::create_dir(&folder).unwrap();
    let text = format!("server = \"https://{}\"\nca = \"ca.crt\"\n", server.address());
    let settings = Settings { certs_directories: vec![directory.path().to_owned()], times: Times::default(), ..settings() };
    let name: ImageRef = format!("{}/x:1", server.address()).parse().unwrap();
    let tags = async |settings: Settings| {
        let session = Client::new(settings).session(server.address(), Credentials::default()).unwrap();
        session.tags(&name).await.unwrap_err()
    };
    // An unknown repository is a registry's own answer.
    std::fs::write(folder.join("hosts.toml"), &text).unwrap();
    std::fs::copy(server.dir().join("ca.crt"), folder.join("ca.crt")).unwrap();
    assert_eq!(tags(settings.clone()).await.code(), "NAME_UNKNOWN");
    std::fs::write(folder.join("hosts.toml"), text.replace("ca =", "header.x =")).unwrap();
    let untrusted = tags(settings.clone()).await;
    assert!(untrusted.to_string().contains("tls: "), "{untrusted}");
    std::fs::write(folder.join("hosts.toml"), text.replace("ca = \"ca.crt\"", "skip_verify = true")).unwrap();
    assert_eq!(tags(settings.clone()).await.code(), "NAME_UNKNOWN");
    // Docker's own layout of the same folder.
    std::fs::remove_file(folder.join("hosts.toml")).unwrap();
    assert_eq!(tags(settings).await.code(), "NAME_UNKNOWN");
}
