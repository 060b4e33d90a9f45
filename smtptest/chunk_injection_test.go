package smtptest_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/smtptest"
)

// The octets behind a BDAT line that is refused as a line are no commands.
func TestNoCommandsFromChunks(t *testing.T) {
	for name, line := range map[string]string{
		"bare LF":  "BDAT 42 LAST\n",
		"control":  "bdat 42\x01 LAST\r\n",
		"too long": "BDAT 42 LAST" + strings.Repeat(" ", 3000) + "\r\n",
		"endless":  "BDAT 42 LAST" + strings.Repeat(" ", 9000) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			srv := smtptest.NewServer(t)
			c, err := net.Dial("tcp", srv.Addr)
			require.NoError(t, err)
			defer c.Close()
			c.SetDeadline(time.Now().Add(5 * time.Second))
			io.WriteString(c, "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"+line+
				"RSET\r\nMAIL FROM:<smuggled@x>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n")
			all, _ := io.ReadAll(bufio.NewReader(c))
			assert.Zero(t, srv.Stats().Messages, "%s", all)
			assert.Contains(t, string(all), "501 5.5.4 Syntax: BDAT")
		})
	}
}
