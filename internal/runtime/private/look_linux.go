package private

import "golang.org/x/sys/unix"

// lookOnly opens a folder to go through it, which may be allowed where reading is not.
const lookOnly = unix.O_PATH
