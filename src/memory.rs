//! What the program has used and does not need any more.

/// Gives the memory of what was only needed to start back to the system: the text of a configuration takes several times
/// its size while it is read, and much of that lies between what stays. Takes milliseconds, in which no other thread can
/// allocate, so it is for the start alone.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: malloc_trim(3) may be called at any time by any thread, and touches nothing but free memory.
        #[expect(unsafe_code, reason = "nobody has a safe name for it")]
        let _whether_there_was_any = unsafe { nix::libc::malloc_trim(0) };
    }
}
