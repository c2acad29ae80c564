//! Bundles: calls of one function that the requests of one thread make at the same time go to Redis as one command.
//!
//! A bundle begins with a call, and is sent when all tasks of the thread that are ready have run. So no call waits for
//! another one that may come, and a call that is alone is sent as it is. Of a bundle, Redis reads its time and the
//! bucket's stamp once, and begins one script (`run_bundle` in `lua/library.lua`). The calls are decided one after the
//! other, and each has its own reply or error.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use redis::{Cmd, Value};
use thread_local::ThreadLocal;
use tokio::sync::oneshot;

use super::library::bundle_of;
use crate::store::arguments::Arguments;
use crate::store::error::StoreError;

/// Calls in a bundle. Redis decides as many in less than a millisecond, for which other nodes have to wait.
const MOST_CALLS: usize = 32;

/// Calls for which a bundle has room from the beginning.
const FEW_CALLS: usize = 4;

pub type Reply = Result<Value, StoreError>;

/// The bundles that are not sent yet, by the thread that began them.
#[derive(Default)]
pub struct Bundles {
    open: ThreadLocal<RefCell<Vec<Weak<Mutex<Bundle>>>>>,
}

/// A bundle that the caller has to send. If it does not, the calls in it end without a reply.
pub struct Begun(Arc<Mutex<Bundle>>);

/// Calls of one registered function, in a cluster on keys of one slot.
#[derive(Default)]
pub struct Bundle {
    registered: &'static str,
    /// The keys and arguments of all calls, one after the other.
    texts: String,
    ends: Vec<usize>,
    /// None once it is closed.
    calls: Vec<Call>,
}

struct Call {
    /// The number of its first key among the texts.
    first: usize,
    keys: usize,
    arguments: usize,
    reply: oneshot::Sender<Reply>,
}

impl Bundles {
    /// Adds a call to a bundle. Returns where its reply will arrive, and the bundle if it begins with this call.
    pub(in crate::store) fn add(
        &self,
        registered: &'static str,
        keys: &[String],
        arguments: &Arguments,
        is_cluster: bool,
    ) -> (oneshot::Receiver<Reply>, Option<Begun>) {
        let (sender, receiver) = oneshot::channel();
        let key = keys.first().map_or("", String::as_str);
        let mut open = self.open.get_or_default().borrow_mut();
        for bundle in open.iter().filter_map(Weak::upgrade) {
            let mut bundle = lock(&bundle);
            let is_open = (1..MOST_CALLS).contains(&bundle.calls.len());
            if is_open && bundle.registered == registered && (!is_cluster || hash_tag(bundle.key()) == hash_tag(key)) {
                bundle.add(keys, arguments, sender);
                return (receiver, None);
            }
        }
        let mut bundle = Bundle {
            registered,
            texts: String::with_capacity(FEW_CALLS * 512),
            ends: Vec::with_capacity(FEW_CALLS * 16),
            ..Bundle::default()
        };
        bundle.add(keys, arguments, sender);
        let bundle = Arc::new(Mutex::new(bundle));
        open.retain(|other| other.strong_count() > 0);
        open.push(Arc::downgrade(&bundle));
        (receiver, Some(Begun(bundle)))
    }
}

fn lock(bundle: &Mutex<Bundle>) -> MutexGuard<'_, Bundle> {
    bundle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The part of a key by which a cluster finds its slot; keys begin with it.
fn hash_tag(key: &str) -> &str {
    key.split_inclusive('}').next().unwrap_or(key)
}

impl Begun {
    /// No call can be added any more.
    pub fn close(self) -> Bundle {
        std::mem::take(&mut lock(&self.0))
    }
}

impl Bundle {
    fn add(&mut self, keys: &[String], arguments: &Arguments, reply: oneshot::Sender<Reply>) {
        let first = self.ends.len();
        for key in keys {
            self.texts.push_str(key);
            self.ends.push(self.texts.len());
        }
        let begin = self.texts.len();
        self.texts.push_str(&arguments.texts);
        self.ends.extend(arguments.ends.iter().map(|end| begin + end));
        self.calls.push(Call { first, keys: keys.len(), arguments: arguments.ends.len(), reply });
    }

    fn text(&self, number: usize) -> &str {
        let begin = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.texts[begin..self.ends[number]]
    }

    /// The first key of its first call.
    pub fn key(&self) -> &str {
        self.text(0)
    }

    /// How many calls are in it.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// A call alone is one of its own function. A command names the keys of all its calls, since a cluster that moves
    /// their slot runs it only if all of them are on one server.
    pub fn command(&self) -> Cmd {
        let mut command = Cmd::with_capacity(self.ends.len() + self.calls.len() + 3, self.texts.len() + 128);
        command.arg("FCALL");
        let is_alone = self.calls.len() == 1;
        if is_alone {
            command.arg(self.registered);
        } else {
            command.arg(bundle_of(self.registered));
        }
        command.arg(self.calls.iter().map(|call| call.keys).sum::<usize>());
        for call in &self.calls {
            for number in call.first..call.first + call.keys {
                command.arg(self.text(number));
            }
        }
        for call in &self.calls {
            if !is_alone {
                command.arg(format!("{} {}", call.keys, call.arguments));
            }
            let first = call.first + call.keys;
            for number in first..first + call.arguments {
                command.arg(self.text(number));
            }
        }
        command
    }

    /// Gives each call its reply.
    pub fn answer(self, reply: Reply) {
        let count = self.calls.len();
        // A request that was dropped does not receive its reply.
        match reply {
            Ok(Value::Array(values)) if count > 1 && values.len() == count => {
                for (call, value) in self.calls.into_iter().zip(values) {
                    let _ = call.reply.send(own_reply(value));
                }
            }
            reply => {
                let all = match reply {
                    Ok(other) if count > 1 => Err(StoreError::Unexpected(format!("{}: {other:?}", self.registered))),
                    reply => reply,
                };
                for (call, reply) in self.calls.into_iter().zip(std::iter::repeat_n(all, count)) {
                    let _ = call.reply.send(reply);
                }
            }
        }
    }
}

fn own_reply(value: Value) -> Reply {
    match value {
        Value::ServerError(error) => Err(redis::RedisError::from(error).into()),
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(
        bundles: &Bundles,
        registered: &'static str,
        key: &str,
        is_cluster: bool,
    ) -> (oneshot::Receiver<Reply>, Option<Begun>) {
        let mut arguments = Arguments::default();
        arguments.text("x").text("");
        bundles.add(registered, &[key.to_owned(), "qg:{b}:2".to_owned()], &arguments, is_cluster)
    }

    fn sent(bundle: &Bundle) -> String {
        String::from_utf8(bundle.command().get_packed_command()).unwrap()
    }

    fn command(words: &[&str]) -> String {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        String::from_utf8(command.get_packed_command()).unwrap()
    }

    #[test]
    fn a_call_alone_is_sent_as_it_is_and_several_as_one() {
        let bundles = Bundles::default();
        let (_alone, begun) = call(&bundles, "reserve", "qg:{a}:1", false);
        assert_eq!(sent(&begun.unwrap().close()), command(&["FCALL", "reserve", "2", "qg:{a}:1", "qg:{b}:2", "x", ""]));
        let (_first, begun) = call(&bundles, "reserve", "qg:{a}:1", false);
        let (_second, none) = call(&bundles, "reserve", "qg:{c}:1", false);
        assert!(none.is_none());
        let words = "FCALL reserve_bundle 4 qg:{a}:1 qg:{b}:2 qg:{c}:1 qg:{b}:2".split(' ');
        let words: Vec<&str> = words.chain(["2 2", "x", "", "2 2", "x", ""]).collect();
        assert_eq!(sent(&begun.unwrap().close()), command(&words));
    }

    #[test]
    fn a_bundle_is_of_one_function_and_in_a_cluster_of_one_slot() {
        let bundles = Bundles::default();
        let begins =
            |registered: &'static str, key: &str, is_cluster: bool| call(&bundles, registered, key, is_cluster).1;
        let kept = [("reserve", "qg:{a}:1"), ("commit", "qg:{a}:1"), ("reserve", "qg:{c}:1")]
            .map(|(registered, key)| begins(registered, key, true).unwrap());
        assert!(begins("reserve", "qg:{c}:2", true).is_none());
        assert!(begins("commit", "qg:{a}:9", true).is_none());
        assert_eq!(kept.map(|begun| begun.close().calls()), [1, 2, 2]);
        assert!(begins("commit", "qg:{a}:1", true).is_some(), "the others are closed");
    }

    #[tokio::test]
    async fn each_call_gets_its_own_reply_and_all_get_an_error() {
        let failed = || StoreError::Full("full".to_owned());
        let ok = |text: &str| Value::SimpleString(text.to_owned());
        for (reply, expected) in [
            (Ok(Value::Array(vec![ok("a"), ok("b")])), [r#"Ok(simple-string("a"))"#, r#"Ok(simple-string("b"))"#]),
            (Err(failed()), [r#"Err(Full("full"))"#; 2]),
            (Ok(ok("a")), [r#"Err(Unexpected("reserve: simple-string(\"a\")"))"#; 2]),
            (Ok(Value::Array(vec![ok("a")])), [r#"Err(Unexpected("reserve: array([simple-string(\"a\")])"))"#; 2]),
        ] {
            let bundles = Bundles::default();
            let (first, begun) = call(&bundles, "reserve", "qg:{a}:1", false);
            let (second, _) = call(&bundles, "reserve", "qg:{a}:1", false);
            begun.unwrap().close().answer(reply);
            for (receiver, expected) in [first, second].into_iter().zip(expected) {
                assert_eq!(format!("{:?}", receiver.await.unwrap()), expected);
            }
        }
    }

    #[tokio::test]
    async fn a_call_whose_bundle_is_never_sent_ends_and_the_next_one_begins_another() {
        let bundles = Bundles::default();
        let (receiver, begun) = call(&bundles, "reserve", "qg:{a}:1", false);
        drop(begun);
        assert!(receiver.await.is_err());
        assert!(call(&bundles, "reserve", "qg:{a}:1", false).1.is_some());
    }
}
