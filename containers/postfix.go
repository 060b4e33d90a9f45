package containers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/testcontainers/testcontainers-go"
)

// RunPostfix starts a real Postfix as [Run] does: smtpd with STARTTLS and, at
// [Server.ImplicitTLSAddr], implicit TLS, with a certificate made for it and
// without SASL. Mail for anybody is accepted, queued and handed to discard(8).
// Its limits of sessions, rates and errors are lifted, so that it can be
// loaded; each session is a process. The queue is a tmpfs and counts as memory
// of the container. [WithPostfixConfig] changes its parameters.
//
// The image is built from debian:bookworm-slim once, and kept.
func RunPostfix(ctx context.Context, opts ...testcontainers.ContainerCustomizer) (*Server, error) {
	s := defaults()
	s.tlsPort = 465
	s.certFile, s.keyFile = "/etc/postfix/cert.pem", "/etc/postfix/key.pem"
	s.postfix = make(map[string]string)
	// Replaced when the parameters are known.
	s.listen = func(Listen) testcontainers.ContainerCustomizer { return nil }
	return run(ctx, recipe{
		name:     "Postfix",
		settings: s,
		build:    embedded("postfix"),
		options: func(s *settings) ([]testcontainers.ContainerCustomizer, error) {
			main, err := mainCF(s)
			if err != nil {
				return nil, err
			}
			s.listen = func(l Listen) testcontainers.ContainerCustomizer {
				return testcontainers.WithFiles(
					testcontainers.ContainerFile{Reader: strings.NewReader(main), ContainerFilePath: "/etc/postfix/main.cf", FileMode: 0o644},
					testcontainers.ContainerFile{Reader: strings.NewReader(masterCF(l)), ContainerFilePath: "/etc/postfix/master.cf", FileMode: 0o644},
				)
			}
			return []testcontainers.ContainerCustomizer{
				testcontainers.WithTmpfs(map[string]string{"/var/spool/postfix": "rw,mode=755"}),
				testcontainers.WithHostConfigModifier(boundLog),
			}, nil
		},
		version: []string{"postconf", "-d", "-h", "mail_version"},
	}, opts)
}

// mainCF returns the main.cf of s.
func mainCF(s *settings) (string, error) {
	main := map[string]string{
		"compatibility_level": "3.6",
		"maillog_file":        "/dev/stdout",

		// Not "localhost": Postfix does not relay to a server of its own name.
		"myhostname":    "postfix.test",
		"mydestination": "",
		// No tables, as they would have to be built, and no DNS.
		"alias_maps":             "",
		"alias_database":         "",
		"local_recipient_maps":   "",
		"smtpd_peername_lookup":  "no",
		"smtp_dns_support_level": "disabled",

		// Everything is accepted and nothing is sent: discard(8) is where all
		// mail goes. Bounces would only come of a fault.
		"mynetworks":                   "0.0.0.0/0, [::]/0",
		"smtpd_relay_restrictions":     "permit_mynetworks, reject", // smtpd insists on a way to say no
		"smtpd_recipient_restrictions": "permit",
		"default_transport":            "discard:",
		"relay_transport":              "discard:",
		"local_transport":              "discard:",
		"virtual_transport":            "discard:",

		"smtpd_tls_security_level": "may",
		"smtpd_tls_cert_file":      s.certFile,
		"smtpd_tls_key_file":       s.keyFile,
		"smtpd_sasl_auth_enable":   "no",

		// No limits.
		"smtpd_client_connection_count_limit": "0",
		"smtpd_client_connection_rate_limit":  "0",
		"smtpd_error_sleep_time":              "0",
		"smtpd_soft_error_limit":              "1000000",
		"smtpd_hard_error_limit":              "1000000",
		"in_flow_delay":                       "0",
		"queue_minfree":                       "0",
	}
	for name, value := range s.postfix {
		if name == "" || strings.ContainsAny(name, " \t=#\r\n") || strings.ContainsAny(value, "\r\n\x00") {
			return "", fmt.Errorf("WithPostfixConfig: %q = %q cannot be a line of main.cf", name, value)
		}
	}
	maps.Copy(main, s.postfix)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(main)) {
		fmt.Fprintf(&b, "%s = %s\n", name, main[name])
	}
	return b.String(), nil
}

// masterCF returns a master.cf with what receiving and discarding needs, and
// nothing in a chroot. smtpd has no limit of processes, which is one of
// sessions.
func masterCF(l Listen) string {
	return l.Addr + " inet n - n - 0 smtpd\n" +
		l.ImplicitTLSAddr + " inet n - n - 0 smtpd\n" +
		"    -o smtpd_tls_wrappermode=yes\n" +
		`cleanup   unix       n - n -     0 cleanup
qmgr      unix       n - n 300   1 qmgr
tlsmgr    unix       - - n 1000? 1 tlsmgr
rewrite   unix       - - n -     - trivial-rewrite
anvil     unix       - - n -     1 anvil
bounce    unix       - - n -     0 bounce
defer     unix       - - n -     0 bounce
trace     unix       - - n -     0 bounce
error     unix       - - n -     - error
retry     unix       - - n -     - error
discard   unix       - - n -     - discard
pickup    unix       n - n 60    1 pickup
proxymap  unix       - - n -     - proxymap
showq     unix       n - n -     - showq
postlog   unix-dgram n - n -     1 postlogd
`
}
