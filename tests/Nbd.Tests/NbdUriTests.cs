// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Nbd.Tests;

public sealed class NbdUriTests
{
    [Theory]
    [InlineData("nbd://example.com", "example.com", 10809, "", false)]
    [InlineData("nbd://example.com/", "example.com", 10809, "", false)]
    [InlineData("nbd://example.com:1234/disk", "example.com", 1234, "disk", false)]
    [InlineData("nbds://[::1]:99/a/b", "::1", 99, "a/b", true)]
    [InlineData("nbd://[::1]", "::1", 10809, "", false)]
    [InlineData("nbd://user@h//lead", "h", 10809, "/lead", false)]
    [InlineData("nbd://h/..%2Fwe%2Fird%20na*me", "h", 10809, "../we/ird na*me", false)]
    [InlineData("nbd://h/../x", "h", 10809, "../x", false)]
    [InlineData("nbd://h/%C3%BC#part", "h", 10809, "ü", false)]
    public void TcpForms_AreRead(string text, string host, int port, string export, bool usesTls)
    {
        var uri = NbdUri.Parse(text);
        Assert.Equal((host, port, null, export, usesTls), (uri.Host, uri.Port, uri.SocketPath, uri.ExportName, uri.UsesTls));
        Assert.Equal(uri, NbdUri.Parse(uri.ToString()));
    }

    [Theory]
    [InlineData("nbd+unix:///?socket=/run/a.sock", "/run/a.sock", "", false, null, null)]
    [InlineData("nbd+unix:///d?socket=/run/a%20b&other=1", "/run/a b", "d", false, null, null)]
    [InlineData("nbds+unix:///d?tls-certificates=/c&socket=s&tls-hostname=x.y", "s", "d", true, "/c", "x.y")]
    public void UnixForms_AreRead(string text, string socket, string export, bool usesTls, string? folder, string? name)
    {
        var uri = NbdUri.Parse(text);
        Assert.Equal((socket, export, usesTls), (uri.SocketPath, uri.ExportName, uri.UsesTls));
        Assert.Equal((folder, name), (uri.TlsCertificates, uri.TlsHostName));
        Assert.Equal(uri, NbdUri.Parse(uri.ToString()));
    }

    [Theory]
    [InlineData("", "it has no '://'")]
    [InlineData("nbd:unix:/x", "it has no '://'")]
    [InlineData("http://h/", "scheme 'http'")]
    [InlineData("nbd+vsock://2/", "scheme 'nbd+vsock'")]
    [InlineData("nbd:///x", "the host is missing")]
    [InlineData("nbd://h:0/", "'0' is no port")]
    [InlineData("nbd://h:65536/", "'65536' is no port")]
    [InlineData("nbd://h:x/", "'x' is no port")]
    [InlineData("nbd://::1/", "brackets")]
    [InlineData("nbd://[zz]/", "'[zz]' is no IPv6 address")]
    [InlineData("nbd://h/?socket=/x", "+unix")]
    [InlineData("nbd+unix:///x", "'?socket=PATH' is missing")]
    [InlineData("nbd+unix://h/x?socket=/s", "has no host")]
    [InlineData("nbd+unix:///x?socket=/s&socket=/t", "'socket' is given twice")]
    [InlineData("nbds://h/?tls-psk-file=/k", "pre-shared")]
    [InlineData("nbd://h/a%00b", "zero byte")]
    public void WhatIsNoNbdUri_IsRefusedWithTheReason(string text, string reason)
    {
        var failure = Assert.Throws<FormatException>(() => NbdUri.Parse(text));
        Assert.Contains(reason, failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ExportNameOver4096Bytes_IsRefused()
    {
        Assert.Throws<FormatException>(() => NbdUri.Parse("nbd://h/" + new string('x', 4097)));
        Assert.Throws<ArgumentOutOfRangeException>(() => NbdUri.ForHost("h", 1, new string('ü', 2049)));
        Assert.Equal(4096, NbdUri.Parse("nbd://h/" + new string('x', 4096)).ExportName.Length);
    }
}
