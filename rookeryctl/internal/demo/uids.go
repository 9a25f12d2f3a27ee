package demo

import (
	"bufio"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	"rookery/rookeryctl/internal/control"
)

// uids are the numbers that the demo's processes run under. No system user is
// made: the numbers belong to nobody.
type uids struct {
	Separate bool `json:"separate"` // false: everything runs under one uid
	Login    int  `json:"login"`
	Auth     int  `json:"auth"`
	Log      int  `json:"log"`
	First    int  `json:"first"` // of u1; uN has First+N-1
}

// user is the uid, and gid, of user n, counted from 1.
func (u uids) user(n int) int {
	if !u.Separate {
		return u.First
	}
	return u.First + n - 1
}

// bases are tried in order: none lies in a range that Debian or systemd hands out.
var bases = [...]int{58000, 59000, 40000, 30000, 2000}

// chooseUIDs picks numbers that are mapped here and that no user has.
func chooseUIDs(users int) (uids, error) {
	if uid := os.Geteuid(); uid != 0 {
		return uids{Login: uid, Auth: uid, Log: uid, First: uid}, nil
	}
	uidMap, gidMap := readMap("/proc/self/uid_map"), readMap("/proc/self/gid_map")
	for _, base := range bases {
		u := uids{Separate: true, Login: base + 1, Auth: base + 2, Log: base + 3, First: base + 100}
		last := u.First + users
		if uidMap.holds(base, last) && gidMap.holds(base, last) && unused(u, users) {
			return u, nil
		}
	}
	return uids{}, control.Errorf(control.ExitNoPerm, "no unused user ids can be had here (user namespace with few ids?); run the demo as a user that is not root")
}

func unused(u uids, users int) bool {
	ids := []int{u.Login, u.Auth, u.Log}
	for n := 1; n <= users; n++ {
		ids = append(ids, u.user(n))
	}
	for _, id := range ids {
		if _, err := user.LookupId(strconv.Itoa(id)); err == nil {
			return false
		}
		if _, err := user.LookupGroupId(strconv.Itoa(id)); err == nil {
			return false
		}
	}
	return true
}

// idMap is /proc/self/uid_map: ranges of ids that exist in this namespace.
type idMap [][2]int

func readMap(name string) idMap {
	f, err := os.Open(name)
	if err != nil {
		return idMap{{0, 1<<31 - 1}}
	}
	defer f.Close()
	var m idMap
	for s := bufio.NewScanner(f); s.Scan(); {
		var inside, outside, count int
		if n, _ := fmt.Sscan(strings.TrimSpace(s.Text()), &inside, &outside, &count); n == 3 {
			m = append(m, [2]int{inside, inside + count - 1})
		}
	}
	return m
}

// holds reports whether one range has all ids from low to high.
func (m idMap) holds(low, high int) bool {
	for _, r := range m {
		if r[0] <= low && high <= r[1] {
			return true
		}
	}
	return false
}
