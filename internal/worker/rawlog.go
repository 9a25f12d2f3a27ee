package worker

import (
	"fmt"
	"time"

	"rookery/internal/settings"
	"rookery/internal/vfs"
)

// rawlog writes what a session says into two files of rawlog_dir, where the
// user has that folder. It begins after login: no password reaches it unless
// the user mails one.
type rawlog struct {
	in, out vfs.File
}

// openRawlog gives nil where it is off: no setting, or no such folder. The
// folder is never made here.
func (h *Host) openRawlog(s *Session, protocol string, now time.Time) *rawlog {
	t := settings.RawlogDir.Get(h.Settings)
	dir, err := settings.ExpandPath(t, h.User.User, h.User.Home, protocol)
	if err != nil || dir == "" {
		if err != nil {
			s.Log.Warnf("rawlog_dir: %v", err)
		}
		return nil
	}
	fs := h.FS()
	base := dir[1:] + "/" + now.Format("20060102-150405.000000") + fmt.Sprintf("-%d", s.ID)
	r := &rawlog{}
	if _, err := fs.Stat(dir[1:]); err != nil {
		return nil
	}
	if r.in, err = fs.OpenFile(base+".in", vfs.Write|vfs.Create|vfs.Excl, 0o600); err != nil {
		s.Log.Warnf("rawlog_dir: %v", err)
		return nil
	}
	if r.out, err = fs.OpenFile(base+".out", vfs.Write|vfs.Create|vfs.Excl, 0o600); err != nil {
		s.Log.Warnf("rawlog_dir: %v", err)
		r.in.Close()
		return nil
	}
	s.Log.Warnf("rawlog_dir: what this session says is written to %s.in and .out", "/"+base)
	return r
}

func (r *rawlog) close() {
	r.in.Close()
	r.out.Close()
}
