//! `redis-sentinel://` URLs: the sentinels, the name of the master, and the logins for both.

use percent_encoding::percent_decode_str;
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisConnectionInfo, RedisError, RedisResult, TlsMode};

/// A master, its replicas and the sentinels that monitor them.
pub struct SentinelUrl {
    sentinels: Vec<ConnectionInfo>,
    master: String,
    /// The login at the master, whichever server that is, with the number of the database.
    login: RedisConnectionInfo,
    tls: bool,
}

impl SentinelUrl {
    /// `[user:password@]host:port,host:port/master-name[/database][?sentinel_username=…&sentinel_password=…]`. The
    /// first name and password are the master's, as in other Redis URLs. They are never sent to a sentinel, nor those
    /// of the sentinels to a master. Each is percent-encoded. None if the URL has another scheme.
    ///
    /// # Errors
    /// What is missing or unknown, without quoting the URL.
    pub fn parse(url: &str) -> Option<RedisResult<Self>> {
        let (scheme, rest) = url.split_once("://")?;
        match scheme {
            "redis-sentinel" => Some(Self::read(rest, false)),
            "rediss-sentinel" => Some(Self::read(rest, true)),
            _ => None,
        }
    }

    fn read(rest: &str, tls: bool) -> RedisResult<Self> {
        let nameless = || fault("redis-sentinel://host:port,…/master-name is needed");
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, path) = rest.split_once('/').ok_or_else(nameless)?;
        let (master, database) = path.split_once('/').unwrap_or((path, ""));
        if master.is_empty() {
            return Err(nameless());
        }
        let (login, hosts) = hosts.rsplit_once('@').unwrap_or(("", hosts));
        // The host is a placeholder; the rest is parsed as for a single server.
        let login = format!("redis://{login}@localhost/{database}").into_connection_info()?.redis_settings().clone();
        let own = sentinels_login(query)?;
        let scheme = if tls { "rediss" } else { "redis" };
        let sentinel = |host: &str| {
            let address = format!("{scheme}://{host}").into_connection_info();
            address.map(|address| address.set_redis_settings(own.clone()))
        };
        let sentinels = hosts.split(',').map(sentinel).collect::<RedisResult<Vec<_>>>()?;
        Ok(Self { sentinels, master: master.to_owned(), login, tls })
    }

    /// `tcp`: settings of the connections to the master.
    ///
    /// # Errors
    /// None that parsing has not found.
    pub fn client(self, tcp: TcpSettings) -> RedisResult<SentinelClient> {
        let servers = SentinelNodeConnectionInfo::default().set_redis_connection_info(self.login).set_tcp_settings(tcp);
        let servers = if self.tls { servers.set_tls_mode(TlsMode::Secure) } else { servers };
        SentinelClient::build(self.sentinels, self.master, Some(servers), SentinelServerType::Master)
    }
}

fn fault(what: &'static str) -> RedisError {
    (ErrorKind::InvalidClientConfig, what).into()
}

/// The login is optional and may be empty.
fn sentinels_login(query: &str) -> RedisResult<RedisConnectionInfo> {
    let (mut username, mut password) = (String::new(), String::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let field = match name {
            "sentinel_username" => &mut username,
            "sentinel_password" => &mut password,
            _ => {
                return Err(fault(
                    "after the name of the master only sentinel_username and sentinel_password are allowed",
                ));
            }
        };
        // A plus sign is not a space, as in the other password: passwords in base64 contain it.
        let value = percent_decode_str(value).decode_utf8();
        *field = value.map_err(|_| fault("sentinel_username and sentinel_password must be UTF-8"))?.into_owned();
    }
    let login = RedisConnectionInfo::default();
    match (username.is_empty(), password.is_empty()) {
        (_, true) if !username.is_empty() => Err(fault("sentinel_username needs a sentinel_password")),
        (_, true) => Ok(login),
        (true, false) => Ok(login.set_password(password)),
        (false, false) => Ok(login.set_username(username).set_password(password)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::ConnectionAddr;

    fn login(info: &RedisConnectionInfo) -> (Option<&str>, Option<&str>, i64) {
        (info.username(), info.password(), info.db())
    }

    #[test]
    fn the_master_and_the_sentinels_have_separate_names_and_passwords() {
        let (none, alone) = ((None, None, 0), "redis-sentinel://a:1,b:2/m");
        for (url, master, sentinels) in [
            (alone, none, none),
            ("redis-sentinel://a:1,b:2/m/", none, none),
            ("redis-sentinel://a:1,b:2/m/7", (None, None, 7), none),
            ("redis-sentinel://:p%40%2Fw+@a:1,b:2/m", (None, Some("p@/w+"), 0), none),
            ("redis-sentinel://u:p@a:1,b:2/m/7?", (Some("u"), Some("p"), 7), none),
            ("redis-sentinel://a:1,b:2/m?sentinel_password=a%26/@+", none, (None, Some("a&/@+"), 0)),
            ("redis-sentinel://a:1,b:2/m?sentinel_password=&sentinel_username=", none, none),
            (
                "redis-sentinel://u:p@a:1,b:2/m/3?sentinel_username=s&sentinel_password=t",
                (Some("u"), Some("p"), 3),
                (Some("s"), Some("t"), 0),
            ),
        ] {
            let read = SentinelUrl::parse(url).unwrap().unwrap();
            assert_eq!((login(&read.login), read.master.as_str(), read.tls), (master, "m", false), "{url}");
            for (place, info) in read.sentinels.iter().enumerate() {
                assert_eq!(login(info.redis_settings()), sentinels, "{url}");
                let address = format!("{}:{}", ["a", "b"][place], place + 1);
                assert_eq!(info.addr().to_string(), address, "{url}");
            }
            assert_eq!(read.sentinels.len(), 2, "{url}");
        }
        let read = SentinelUrl::parse(&alone.replace("redis-", "rediss-")).unwrap().unwrap();
        assert!(read.tls && matches!(read.sentinels[1].addr(), ConnectionAddr::TcpTls { insecure: false, .. }));
        assert!(SentinelUrl::parse("redis://u:p@a:1/3").is_none());
    }

    #[test]
    fn what_names_no_master_or_no_sentinel_is_refused_without_its_secrets() {
        for (url, reason) in [
            ("redis-sentinel://u:hunter2@a:1", "master-name is needed"),
            ("redis-sentinel://u:hunter2@a:1/", "master-name is needed"),
            ("redis-sentinel://u:hunter2@a:1//3", "master-name is needed"),
            ("redis-sentinel://u:hunter2@/m", "Missing hostname"),
            ("redis-sentinel://u:hunter2@a:1,/m", "Missing hostname"),
            ("redis-sentinel://u:hunter2@a:port/m", "Redis URL did not parse"),
            ("redis-sentinel://u:hunter2@a:1/m/first", "Invalid database number"),
            ("redis-sentinel://a:1/m?password=hunter2", "only sentinel_username and sentinel_password"),
            ("redis-sentinel://a:1/m?sentinel_username=hunter2", "needs a sentinel_password"),
            ("redis-sentinel://a:1/m?sentinel_password=hunter2%FF", "must be UTF-8"),
        ] {
            let Err(error) = SentinelUrl::parse(url).unwrap() else { panic!("{url} was taken") };
            let message = format!("{error} {error:?}");
            assert!(message.contains(reason) && !message.contains("hunter2"), "{url}: {message}");
        }
    }
}
