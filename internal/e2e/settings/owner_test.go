package settings

import (
	"os"
	"syscall"
)

// owner gives a file's uid and gid.
func owner(info os.FileInfo) (uid, gid int) {
	st := info.Sys().(*syscall.Stat_t)
	return int(st.Uid), int(st.Gid)
}
