//! How Linux schedules the threads of this process. On other systems they stay as they are.

/// Of the threads for long reads: metering calls get the processor first.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Lets what runs on this thread's core continue when the thread wakes up (`SCHED_BATCH`, see sched(7)). Without this, a
/// worker interrupts Redis or a client for each answer that arrives, and then finds one call to work on instead of many.
/// New threads of this one inherit it.
pub fn never_interrupt() {
    #[cfg(target_os = "linux")]
    {
        let unused = libc::sched_param { sched_priority: 0 };
        // SAFETY: 0 is the calling thread, and the kernel only reads the parameter.
        if unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const unused) } != 0 {
            let error = std::io::Error::last_os_error();
            tracing::debug!(%error, "cannot keep a worker from interrupting other threads");
        }
    }
}

/// Gives other threads of this process priority over this one.
pub fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "cannot lower the priority of the threads for long reads");
    }
}
