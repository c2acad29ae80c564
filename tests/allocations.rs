//! The cost of a call in the gateway, measured in allocations, which do not depend on the machine.

// The layout of the futures that the service makes is deeper than the default of 128.
#![recursion_limit = "256"]

#[path = "support/mod.rs"]
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};

use support::{World, monthly};

/// The system's allocator with a counter.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: passes everything on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Requests per round.
const REQUESTS: u64 = 50;

/// Allocations of a request: the minimum of several rounds, since the node also does background work.
fn per_request(connection: &mut TcpStream, request: &[u8], answer: &mut [u8]) -> u64 {
    let rounds = (0..20).map(|_| {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for _ in 0..REQUESTS {
            connection.write_all(request).unwrap();
            let read = connection.read(answer).unwrap();
            assert!(answer[..read].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..read]));
        }
        (ALLOCATIONS.load(Ordering::Relaxed) - before) / REQUESTS
    });
    rounds.min().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reserve_allocates_no_more_than_it_did() {
    let world = World::new().await;
    world.admin.plan("one", monthly(1_000_000)).await;
    world.app.subscribe("u", "one").await;
    let body = "{\"userId\":\"u\",\"event\":\"image.render\",\"metadata\":{\"model\":\"large\"}}";
    let mut connection = TcpStream::connect(world.node.url.strip_prefix("http://").unwrap()).unwrap();
    let request = format!(
        "POST /api/v1/reserve HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n{body}",
        world.app.key,
        body.len()
    );
    let mut answer = vec![0; 64 * 1024];
    let allocations = tokio::task::block_in_place(|| per_request(&mut connection, request.as_bytes(), &mut answer));
    println!("{allocations} allocations of a reserve");
    assert!(
        (1..=MOST).contains(&allocations),
        "{allocations}: fewer is better, then lower the bound; more is a step back"
    );
}

/// The measured value plus some for the node's background work.
const MOST: u64 = 79;
