use std::fs;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use super::*;

fn record(name: &str) -> Record {
    Record { name: name.to_owned(), fingerprint: format!("of {name}"), body: json!({ "name": name }) }
}

fn open(directory: &Path, most: usize) -> Journal {
    Journal::open(JournalOptions { directory: directory.to_owned(), most }, &Parts::default()).unwrap()
}

async fn names(journal: &Journal) -> Vec<String> {
    journal.oldest(100).await.into_iter().map(|record| record.name).collect()
}

fn journals(directory: &Path) -> Vec<PathBuf> {
    JournalFile::list(directory).unwrap()
}

/// Drops the journal and waits until its thread has unlocked its files, so that they can be taken over.
async fn close(journal: Journal, directory: &Path) {
    drop(journal);
    for _ in 0..10_000 {
        let free =
            |path: &PathBuf| fs::File::open(path).is_ok_and(|file| file.try_lock().is_ok() && file.unlock().is_ok());
        if journals(directory).iter().all(free) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    panic!("the journal's thread does not end");
}

#[tokio::test]
async fn journal_entries_survive_the_process_in_their_order() {
    let directory = TempDir::new().unwrap();
    let journal = open(directory.path(), 100);
    assert!(journals(directory.path()).is_empty(), "nothing is written before it is needed");
    for name in ["c", "a", "b"] {
        assert_eq!(journal.append(record(name)).await, Ok(Appended::Written));
    }
    journal.done("a");
    assert_eq!(names(&journal).await, ["c", "b"]);
    close(journal, directory.path()).await;
    let journal = open(directory.path(), 100);
    // Records that were done before are not marked.
    assert_eq!(names(&journal).await, ["c", "a", "b"]);
    assert_eq!(journal.waiting(), 3);
    assert_eq!(journal.find("a").await, Some(record("a")));
    assert_eq!(journal.find("d").await, None);
}

#[tokio::test]
async fn a_file_goes_when_all_in_it_is_done_and_the_next_record_makes_a_new_one() {
    let directory = TempDir::new().unwrap();
    let journal = open(directory.path(), 100);
    for name in ["a", "b"] {
        journal.append(record(name)).await.unwrap();
    }
    let first = journals(directory.path());
    journal.done("a");
    assert_eq!((names(&journal).await.len(), journals(directory.path())), (1, first.clone()));
    journal.done("b");
    assert!(names(&journal).await.is_empty() && journals(directory.path()).is_empty());
    journal.append(record("c")).await.unwrap();
    let second = journals(directory.path());
    assert!(second.len() == 1 && second != first);
}

#[tokio::test]
async fn the_same_record_waits_once_also_if_it_comes_twice_at_the_same_time() {
    let directory = TempDir::new().unwrap();
    let journal = open(directory.path(), 100);
    let answers = futures::future::join_all((0..50).map(|_| journal.append(record("a")))).await;
    assert_eq!(answers.iter().filter(|answer| **answer == Ok(Appended::Written)).count(), 1);
    assert_eq!(answers.iter().filter(|answer| **answer == Ok(Appended::Known(record("a")))).count(), 49);
    let other = Record { fingerprint: "another".to_owned(), ..record("a") };
    assert_eq!(journal.append(other).await, Ok(Appended::Reused));
    assert_eq!(names(&journal).await, ["a"]);
}

#[tokio::test]
async fn no_more_records_wait_than_may_wait_with_those_of_an_earlier_process() {
    let directory = TempDir::new().unwrap();
    let journal = open(directory.path(), 2);
    let names = ["a", "b", "c", "d"];
    let answers = futures::future::join_all(names.map(|name| journal.append(record(name)))).await;
    assert_eq!(answers[..2], [Ok(Appended::Written), Ok(Appended::Written)]);
    assert_eq!(answers[2..], [Err(JournalError::Full), Err(JournalError::Full)]);
    close(journal, directory.path()).await;
    let journal = open(directory.path(), 2);
    assert_eq!(journal.append(record("c")).await, Err(JournalError::Full));
    journal.done("a");
    assert_eq!(journal.append(record("c")).await, Ok(Appended::Written));
    assert_eq!(journal.append(record("b")).await, Ok(Appended::Known(record("b"))));
}

#[tokio::test]
async fn a_failed_write_is_reported_without_waiting_and_writing_resumes_later() {
    let parent = TempDir::new().unwrap();
    let directory = parent.path().join("degraded");
    fs::write(&directory, "in the way").unwrap();
    let journal = open(&directory, 100);
    let refused = journal.append(record("a")).await.unwrap_err();
    assert!(matches!(refused, JournalError::Unwritable(_)), "{refused}");
    assert!(journal.fault().is_some() && names(&journal).await.is_empty());
    fs::remove_file(&directory).unwrap();
    assert_eq!(journal.append(record("a")).await, Ok(Appended::Written));
    assert_eq!((journal.fault(), names(&journal).await.len()), (None, 1));
}

#[tokio::test]
async fn a_torn_last_line_is_left_out_and_never_appended_to() {
    let directory = TempDir::new().unwrap();
    let journal = open(directory.path(), 100);
    journal.append(record("a")).await.unwrap();
    let file = journals(directory.path()).remove(0);
    let whole = fs::read(&file).unwrap();
    // As after an interrupted write: the next process reads the complete records.
    close(journal, directory.path()).await;
    let torn = [whole.as_slice(), &whole[whole.len() - 20..whole.len() - 1]].concat();
    fs::write(&file, torn).unwrap();
    let journal = open(directory.path(), 100);
    assert_eq!(names(&journal).await, ["a"]);
    journal.append(record("b")).await.unwrap();
    assert_eq!(journals(directory.path()).len(), 2, "nothing is appended to a torn file");
}

#[tokio::test]
async fn a_damaged_line_keeps_its_file_for_people_and_the_others_are_done() {
    let directory = TempDir::new().unwrap();
    let journal = open(directory.path(), 100);
    for name in ["a", "b"] {
        journal.append(record(name)).await.unwrap();
    }
    let file = journals(directory.path()).remove(0);
    close(journal, directory.path()).await;
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace(r#"{"name":"a"}"#, r#"{"name":"x"}"#)).unwrap();
    let journal = open(directory.path(), 100);
    assert_eq!(names(&journal).await, ["b"]);
    journal.done("b");
    assert!(names(&journal).await.is_empty());
    assert!(!file.exists() && file.with_extension("damaged").exists());
}

#[tokio::test]
async fn what_can_never_be_done_goes_to_a_file_for_people_that_can_be_tried_again() {
    let directory = TempDir::new().unwrap();
    let journal = open(directory.path(), 100);
    for name in ["a", "b"] {
        journal.append(record(name)).await.unwrap();
        journal.refused(name);
    }
    assert!(names(&journal).await.is_empty() && journals(directory.path()).is_empty());
    close(journal, directory.path()).await;
    fs::rename(directory.path().join("refused"), directory.path().join("again.journal")).unwrap();
    assert_eq!(names(&open(directory.path(), 100)).await, ["a", "b"]);
}

#[tokio::test]
async fn a_living_process_keeps_its_files_in_a_shared_directory() {
    let directory = TempDir::new().unwrap();
    let one = open(directory.path(), 100);
    one.append(record("a")).await.unwrap();
    let other = open(directory.path(), 100);
    assert!(names(&other).await.is_empty());
    other.append(record("b")).await.unwrap();
    assert_eq!((names(&one).await, names(&other).await), (vec!["a".to_owned()], vec!["b".to_owned()]));
}

#[tokio::test]
async fn a_file_is_bounded_in_bytes_also_while_much_of_it_is_done() {
    let directory = TempDir::new().unwrap();
    let journal = open(directory.path(), 1_000);
    let large = |number: usize| Record { body: json!("x".repeat(1 << 20)), ..record(&number.to_string()) };
    let mut written = 0;
    while journal.append(large(written)).await == Ok(Appended::Written) {
        written += 1;
        if written > 1 {
            journal.done(&(written - 1).to_string());
        }
    }
    assert_eq!(written, 63, "64 MiB including the header of each");
    assert_eq!(journal.append(large(written)).await, Err(JournalError::Full));
    assert_eq!(names(&journal).await, ["0"]);
    journal.done("0");
    assert_eq!(journal.append(large(written)).await, Ok(Appended::Written));
}

#[test]
fn a_record_that_could_not_be_written_is_refused_and_does_not_wait() {
    let directory = TempDir::new().unwrap();
    let shared = Arc::new(Shared::default());
    let mut writer = Writer {
        directory: directory.path().join("degraded"),
        most: 5,
        shared: Arc::clone(&shared),
        records: BTreeMap::new(),
        places: HashMap::new(),
        files: HashMap::new(),
        current: None,
        next: 0,
    };
    let number = writer.current().unwrap();
    let kept = writer.files.remove(&number).unwrap();
    writer.files.insert(number, FileState { file: kept.file.unwritable(), ..kept });
    let append = |writer: &mut Writer| {
        let (reply, mut answer) = oneshot::channel();
        let mut batch = Batch::default();
        writer.take(Order::Append(record("a"), reply), &mut batch);
        writer.write(batch);
        answer.try_recv().unwrap()
    };
    let refused = append(&mut writer);
    assert!(matches!(refused, Err(JournalError::Unwritable(_))), "{refused:?}");
    assert_eq!((writer.records.len(), shared.waiting.load(Ordering::Relaxed)), (0, 0));
    assert!(shared.fault.lock().unwrap().is_some());
    // The next record is in a new file.
    assert_eq!(append(&mut writer), Ok(Appended::Written));
    assert!(shared.fault.lock().unwrap().is_none());
}

#[tokio::test]
async fn a_thread_that_ends_starts_again_with_what_waits() {
    let (directory, parts) = (TempDir::new().unwrap(), Parts::default());
    let journal = Journal::open(JournalOptions { directory: directory.path().to_owned(), most: 10 }, &parts).unwrap();
    journal.append(record("a")).await.unwrap();
    parts.end("journal");
    // The thread checks once a second.
    while parts.report()[0].restarts == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    assert_eq!(names(&journal).await, ["a"]);
    assert_eq!(journal.append(record("a")).await.unwrap(), Appended::Known(record("a")));
    assert_eq!(journal.append(record("b")).await.unwrap(), Appended::Written);
    assert_eq!(names(&journal).await, ["a", "b"]);
}
