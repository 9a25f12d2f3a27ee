package maillog

import (
	"fmt"
	"net/netip"
	"strings"
)

// Filter says whose debug lines are written. A nil Filter matches nothing.
type Filter struct {
	all   bool
	users []string // lower case
	nets  []netip.Prefix
}

// maxTerms bounds a filter: it is compared with every line.
const maxTerms = 64

// ParseFilter reads terms separated by spaces: "user=NAME", "ip=ADDRESS",
// "ip=NETWORK/BITS" (also written remote_ip=), or "*" for everything. Any matching term is enough. An
// empty text gives nil, which matches nothing.
func ParseFilter(text string) (*Filter, error) {
	terms := strings.Fields(text)
	if len(terms) == 0 {
		return nil, nil
	}
	if len(terms) > maxTerms {
		return nil, fmt.Errorf("a filter has at most %d terms", maxTerms)
	}
	f := &Filter{}
	for _, t := range terms {
		key, value, _ := strings.Cut(t, "=")
		switch {
		case t == "*":
			f.all = true
		case key == "user" && value != "":
			f.users = append(f.users, strings.ToLower(value))
		case (key == "ip" || key == "remote_ip") && value != "":
			p, err := parseNet(value)
			if err != nil {
				return nil, err
			}
			f.nets = append(f.nets, p)
		default:
			return nil, fmt.Errorf("%q is neither user=NAME, ip=ADDRESS nor *", t)
		}
	}
	return f, nil
}

func parseNet(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		return p.Masked(), err
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// Everything is the filter of auth_debug and the like.
func Everything() *Filter { return &Filter{all: true} }

// Matches reports whether lines about this user and address are wanted.
func (f *Filter) Matches(user, ip string) bool {
	if f == nil || f.all {
		return f != nil
	}
	for _, u := range f.users {
		if u == strings.ToLower(user) {
			return true
		}
	}
	if len(f.nets) == 0 || ip == "" {
		return false
	}
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return false
	}
	for _, n := range f.nets {
		if n.Contains(a.Unmap()) {
			return true
		}
	}
	return false
}
