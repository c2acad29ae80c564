//! A server that answers the no-op and nothing else, for `make count`.

#[allow(dead_code)]
mod no_op;

// As the gateway has it, so that the no-op is not slower for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    match no_op::asked() {
        Some(answer) => no_op::serve(answer),
        None => eprintln!("usage: no_op no-op ANSWER"),
    }
}
