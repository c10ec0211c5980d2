use super::*;

fn one(url: &str) -> Result<Urls, String> {
    read_urls(&[url], &Mode::Standalone).map_err(|error| error.problem)
}

fn tcp(host: &str, port: u16, tls: bool) -> Endpoint {
    Endpoint::Tcp {
        host: host.to_owned(),
        port,
        tls,
    }
}

#[test]
fn each_part_of_a_url_is_read() {
    let cases = [
        (
            "redis://localhost",
            tcp("localhost", 6379, false),
            None,
            None,
            0,
        ),
        (
            "redis://localhost/",
            tcp("localhost", 6379, false),
            None,
            None,
            0,
        ),
        (
            "rediss://r.example:6380/3",
            tcp("r.example", 6380, true),
            None,
            None,
            3,
        ),
        ("redis://[::1]:7000", tcp("::1", 7000, false), None, None, 0),
        ("redis://[::1]", tcp("::1", 6379, false), None, None, 0),
        (
            "redis://:se%40cret@h:1",
            tcp("h", 1, false),
            None,
            Some("se@cret"),
            0,
        ),
        (
            "redis://ann:p:w@h",
            tcp("h", 6379, false),
            Some("ann"),
            Some("p:w"),
            0,
        ),
        (
            "redis://ann:p@w@h",
            tcp("h", 6379, false),
            Some("ann"),
            Some("p@w"),
            0,
        ),
        (
            "redis://ann:@h",
            tcp("h", 6379, false),
            Some("ann"),
            None,
            0,
        ),
        (
            "unix:///run/r.sock?db=2&user=a&password=b",
            Endpoint::Unix("/run/r.sock".into()),
            Some("a"),
            Some("b"),
            2,
        ),
    ];
    for (url, endpoint, user, password, database) in cases {
        let urls = one(url).unwrap_or_else(|problem| panic!("{url}: {problem}"));
        assert_eq!(urls.endpoints, [endpoint], "{url}");
        let password = password.map(|password| Secret::Value(password.to_owned()));
        assert_eq!(
            urls.login,
            Login {
                user: user.map(str::to_owned),
                password
            },
            "{url}"
        );
        assert_eq!(urls.database, database, "{url}");
    }
}

#[test]
fn what_is_wrong_is_said_with_what_would_be_right() {
    let cases = [
        ("localhost:6379", "begin with redis://"),
        ("http://localhost", "http:// is not known"),
        ("redis://", "the host is missing"),
        ("redis://:6379", "the host is missing"),
        ("redis://h:0", "from 1 to 65535"),
        ("redis://h:port", "from 1 to 65535"),
        ("redis://::1:6379", "brackets"),
        ("redis://[::1", "brackets"),
        ("redis://[::1]6379", "a colon and the port"),
        ("redis://h/one", "such as 0"),
        ("redis://ann@h", "user:password"),
        ("redis://:p%4@h", "two hexadecimal digits"),
        ("redis://:p#q@h", "%23"),
        ("redis://:p?q@h", "%3F"),
        ("unix://run/r.sock", "begins with a slash"),
        ("unix:///r?table=1", "db=NUMBER"),
    ];
    for (url, expected) in cases {
        let problem = one(url).expect_err(url);
        assert!(problem.contains(expected), "{url}: {problem}");
        assert!(
            !problem.contains("p%4") && !problem.contains("p#q"),
            "{problem}"
        );
    }
}

#[test]
fn a_password_is_not_shown_where_the_host_was_forgotten() {
    let error = read_urls(&["redis://ann:secret"], &Mode::Standalone).map(|_| ());
    let error = error.expect_err("secret is no port").to_string();
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn several_urls_say_the_same_of_who_logs_in() {
    let read =
        |urls: &[&str], mode: &Mode| read_urls(urls, mode).map_err(|error| error.to_string());
    let urls = read(&["redis://:p@a/1", "redis://b"], &Mode::Standalone).expect("they agree");
    assert_eq!(urls.endpoints.len(), 2);
    assert_eq!(urls.database, 1);
    assert!(urls.login.password.is_some());

    let wrong = |urls: &[&str], mode: &Mode| read(urls, mode).expect_err("they don't agree");
    let standalone = Mode::Standalone;
    assert!(
        wrong(&["redis://:p@a", "redis://:q@b"], &standalone)
            .contains("URL 2 of Redis: it has another user")
    );
    assert!(wrong(&["redis://a/1", "redis://b/2"], &standalone).contains("another database"));
    assert!(wrong(&["redis://a", "redis://a:6379"], &standalone).contains("twice"));
    assert!(wrong(&["redis://a/1"], &Mode::Cluster).contains("the database 0 alone"));
    assert!(wrong(&[], &standalone).contains("there is none"));
}

#[test]
fn a_sentinel_has_another_port_by_default() {
    let mode = Mode::Sentinel {
        master: "main".to_owned(),
        login: Login::default(),
    };
    let urls = read_urls(&["redis://s"], &mode).expect("a URL");
    assert_eq!(urls.endpoints, [tcp("s", 26379, false)]);
}

#[test]
fn a_password_is_never_shown() {
    let urls = one("redis://ann:secret@h").expect("a URL");
    assert!(!format!("{urls:?}").contains("secret"));
}
