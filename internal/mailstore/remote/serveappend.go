package remote

import (
	"io"
	"sync"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
)

// serverAppender is an appender that the guest has begun.
type serverAppender struct {
	mailstore.Appender
	mu     sync.Mutex
	w      io.Writer // of the message that was added last
	octets int64     // of all its messages
	over   bool
}

func (s *server) append(a *named) (*handle, error) {
	if err := known("append", a.Name); err != nil {
		return nil, err
	}
	if err := s.claim(&s.counts.appenders, s.opt.Limits.Appenders); err != nil {
		return nil, err
	}
	app, err := s.store.Append(a.Name)
	if err != nil {
		s.release(&s.counts.appenders)
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.next(func(n uint32) bool { return s.appenders[n] != nil })
	s.appenders[n] = &serverAppender{Appender: app}
	return &handle{n}, nil
}

// appending runs do with an appender that is not over.
func (s *server) appending(n uint32, do func(a *serverAppender) error) error {
	s.mu.Lock()
	a := s.appenders[n]
	s.mu.Unlock()
	if a == nil {
		return unknown("append")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return unknown("append")
	}
	return do(a)
}

// claimOctets counts octets that are appended; all appenders of a guest together have a
// limit.
func (s *server) claimOctets(a *serverAppender, n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.octets+n > s.opt.Limits.Append {
		return errkind.Newf("append", errkind.TooBig, "more is appended than a guest may have under way")
	}
	s.octets += n
	a.octets += n
	return nil
}

func (s *server) add(a *adding) (*none, error) {
	return nil, s.appending(a.Appender, func(app *serverAppender) error {
		app.w = nil
		if a.Size > s.opt.Limits.Append {
			return errkind.Newf("append", errkind.TooBig, "the message is too large")
		}
		// A message without octets costs something, too.
		if err := s.claimOctets(app, 1<<10); err != nil {
			return err
		}
		w, err := app.Add(a.Meta, a.Size)
		if err == nil {
			app.w = w
		}
		return err
	})
}

func (s *server) write(a *writing) (*none, error) {
	return nil, s.appending(a.Appender, func(app *serverAppender) error {
		if app.w == nil {
			return errkind.Newf("append", errkind.Invalid, "no message was added")
		}
		if err := s.claimOctets(app, int64(len(a.Data))); err != nil {
			return err
		}
		_, err := app.w.Write(a.Data)
		return err
	})
}

func (s *server) commit(a *handle, goOn func() error) (out *appended, err error) {
	err = s.appending(a.N, func(app *serverAppender) error {
		mailstore.StopBy(app.Appender, mailstore.Transfer{Stop: goOn}.GoOn)
		res, err := app.Commit()
		if err == nil {
			out = &appended{res}
		}
		s.forget(a.N, app)
		return err
	})
	return out, err
}

func (s *server) abort(a *handle) (*none, error) {
	return nil, s.appending(a.N, func(app *serverAppender) error {
		s.forget(a.N, app)
		return nil
	})
}

// forget gives an appender up; what was committed stays.
func (s *server) forget(n uint32, a *serverAppender) {
	a.Abort()
	a.over = true
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.appenders, n)
	s.counts.appenders--
	s.octets -= a.octets
}
