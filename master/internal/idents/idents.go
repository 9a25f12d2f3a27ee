// Package idents reads /etc/passwd and /etc/group for master: whom processes
// run as, and which supplementary groups a user's worker may have.
//
// master asks no library and no network service: it believes only what root
// wrote on this machine, whatever authd says.
package idents

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// User is a line of /etc/passwd.
type User struct {
	Name     string
	UID, GID uint32
	Home     string
}

// DB is what both files said when they were read.
type DB struct {
	users  map[string]User
	groups map[string]group
}

type group struct {
	gid     uint32
	members []string
}

// maxFile bounds a file; a larger one is an error.
const maxFile = 16 << 20

// Read reads etc/passwd and etc/group in fsys. Lines that are no entries are
// passed over, as the C library does.
func Read(fsys fs.FS) (*DB, error) {
	db := &DB{users: map[string]User{}, groups: map[string]group{}}
	err := lines(fsys, "etc/passwd", 7, func(f []string) {
		uid, ok1 := number(f[2])
		gid, ok2 := number(f[3])
		if _, twice := db.users[f[0]]; ok1 && ok2 && !twice {
			db.users[f[0]] = User{f[0], uid, gid, f[5]}
		}
	})
	if err != nil {
		return nil, err
	}
	err = lines(fsys, "etc/group", 4, func(f []string) {
		gid, ok := number(f[2])
		if _, twice := db.groups[f[0]]; ok && !twice {
			db.groups[f[0]] = group{gid, strings.Split(f[3], ",")}
		}
	})
	return db, err
}

func lines(fsys fs.FS, name string, fields int, entry func([]string)) error {
	f, err := fsys.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	s := bufio.NewScanner(io.LimitReader(f, maxFile))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		parts := strings.Split(s.Text(), ":")
		if len(parts) == fields && parts[0] != "" && !strings.HasPrefix(parts[0], "#") {
			entry(parts)
		}
	}
	if s.Err() != nil {
		return fmt.Errorf("%s: %w", name, s.Err())
	}
	return nil
}

func number(text string) (uint32, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err == nil && strconv.FormatUint(n, 10) == text
}

// Lookup finds a user by name.
func (db *DB) Lookup(name string) (User, bool) {
	u, ok := db.users[name]
	return u, ok
}

// Group finds a group's id by its name.
func (db *DB) Group(name string) (uint32, bool) {
	g, ok := db.groups[name]
	return g.gid, ok
}

// UserOrNumber is Lookup that also takes a plain number, whose group has the
// same one: for a service's own user that needs no name.
func (db *DB) UserOrNumber(text string) (User, error) {
	if u, ok := db.Lookup(text); ok {
		return u, nil
	}
	if n, ok := number(text); ok {
		return User{Name: text, UID: n, GID: n}, nil
	}
	return User{}, fmt.Errorf("there is no user %q in /etc/passwd; make it (systemd-sysusers, useradd --system), or set another", text)
}

// Groups gives the ids of the groups in wanted that list the user as a member.
func (db *DB) Groups(user string, wanted []string) []uint32 {
	var out []uint32
	for _, name := range wanted {
		g, ok := db.groups[name]
		if ok && slices.Contains(g.members, user) && !slices.Contains(out, g.gid) {
			out = append(out, g.gid)
		}
	}
	return out
}
