package memory

// Here is this process's memory.
func Here() Memory { return OfLinux("/") }
