package authdb

import (
	"fmt"
	"net/netip"
	"strings"
)

// AllowNets decides the extra field allow_nets: networks and addresses
// separated by ",", and "local" for clients without an address (a Unix
// socket). IPv4 in IPv6 counts as IPv4. The error names the bad element.
func AllowNets(list string, remote netip.Addr) (bool, error) {
	allowed := false
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		if item == "local" {
			allowed = allowed || !remote.IsValid()
			continue
		}
		p, err := ParseNet(item)
		if err != nil {
			return false, err
		}
		allowed = allowed || (remote.IsValid() && p.Contains(remote.Unmap().WithZone("")))
	}
	return allowed, nil
}

// ParseNet reads "192.0.2.0/24", "2001:db8::/32" or an address alone.
func ParseNet(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("%q is not a network", clip(s))
		}
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not an address", clip(s))
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), nil
}
