// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Net;
using System.Text;

namespace Tidemark.Nbd;

/// <summary>
/// Where an export is: <c>nbd://host:port/export</c>, <c>nbds://</c> with TLS, <c>nbd+unix:///export?socket=PATH</c>,
/// <c>nbds+unix://</c> (NBD project, doc/uri.md). The export name is everything after the first slash, percent-decoded.
/// </summary>
public sealed record NbdUri
{
    private NbdUri()
    {
    }

    /// <summary>Host name or address without brackets; null for a unix socket.</summary>
    public string? Host { get; private init; }

    public int Port { get; private init; } = NbdLimits.DefaultPort;

    /// <summary>Path of the unix socket; null for TCP.</summary>
    public string? SocketPath { get; private init; }

    /// <summary>Empty is the server's default export.</summary>
    public string ExportName { get; private init; } = "";

    /// <summary>True: the connection is encrypted or there is none.</summary>
    public bool UsesTls { get; private init; }

    /// <summary>Folder with ca-cert.pem and, for a server that asks for it, client-cert.pem and client-key.pem.</summary>
    public string? TlsCertificates { get; private init; }

    /// <summary>The name the server's certificate must carry, where it is not <see cref="Host"/>.</summary>
    public string? TlsHostName { get; private init; }

    public static NbdUri ForUnixSocket(string socketPath, string exportName)
    {
        ArgumentException.ThrowIfNullOrEmpty(socketPath);
        return new NbdUri { SocketPath = socketPath, ExportName = CheckedName(exportName) };
    }

    public static NbdUri ForHost(string host, int port, string exportName)
    {
        ArgumentException.ThrowIfNullOrEmpty(host);
        ArgumentOutOfRangeException.ThrowIfLessThan(port, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(port, 65535);
        return new NbdUri { Host = host, Port = port, ExportName = CheckedName(exportName) };
    }

    /// <summary>
    /// The same place with TLS; <paramref name="hostName"/> is needed where the certificate is not for <see cref="Host"/>.
    /// </summary>
    public NbdUri WithTls(string? certificateFolder, string? hostName = null) =>
        this with { UsesTls = true, TlsCertificates = certificateFolder, TlsHostName = hostName };

    public NbdUri WithExportName(string exportName) => this with { ExportName = CheckedName(exportName) };

    /// <exception cref="FormatException">The text is no NBD URI; the message says why.</exception>
    public static NbdUri Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        var (scheme, authority, path, query) = Split(text);
        var usesUnix = scheme is "nbd+unix" or "nbds+unix";
        if (!usesUnix && scheme is not ("nbd" or "nbds"))
            throw Bad(text, $"scheme '{scheme}' is none of nbd, nbds, nbd+unix, nbds+unix");

        var parameters = ParseQuery(text, query);
        if (parameters.ContainsKey("tls-psk-file"))
            throw Bad(text, "TLS with pre-shared keys is not supported; use certificates");
        var socket = parameters.GetValueOrDefault("socket");
        var result = new NbdUri
        {
            UsesTls = scheme[3..] is "s" or "s+unix",
            ExportName = Decode(text, path.StartsWith('/') ? path[1..] : path),
            TlsCertificates = parameters.GetValueOrDefault("tls-certificates"),
            TlsHostName = parameters.GetValueOrDefault("tls-hostname"),
        };
        if (Encoding.UTF8.GetByteCount(result.ExportName) > NbdLimits.MaxStringLength)
            throw Bad(text, $"the export name is longer than {NbdLimits.MaxStringLength} bytes");
        if (!usesUnix)
            return socket is null ? WithAuthority(result, text, authority) : throw Bad(text, "'socket' belongs to the +unix schemes");
        if (string.IsNullOrEmpty(socket))
            throw Bad(text, "'?socket=PATH' is missing");
        if (authority.Length > 0)
            throw Bad(text, "a +unix scheme has no host; write three slashes");
        return result with { SocketPath = socket };
    }

    /// <summary>The URI again, percent-encoded where needed.</summary>
    public override string ToString()
    {
        var text = new StringBuilder(UsesTls ? "nbds" : "nbd");
        if (SocketPath is not null)
            text.Append("+unix:///");
        else
            text.Append("://").Append(Host!.Contains(':') ? $"[{Host}]" : Host).Append(Port == NbdLimits.DefaultPort ? "/" : $":{Port}/");
        text.Append(Uri.EscapeDataString(ExportName));
        var separator = '?';
        (string, string?)[] parameters = [("socket", SocketPath), ("tls-certificates", TlsCertificates), ("tls-hostname", TlsHostName)];
        foreach (var (name, value) in parameters)
        {
            if (value is null)
                continue;
            text.Append(separator).Append(name).Append('=')
                .Append(Uri.EscapeDataString(value).Replace("%2F", "/", StringComparison.Ordinal));
            separator = '&';
        }

        return text.ToString();
    }

    private static (string Scheme, string Authority, string Path, string Query) Split(string text)
    {
        var end = text.IndexOf("://", StringComparison.Ordinal);
        if (end < 0)
            throw Bad(text, "it has no '://'");
        var rest = text[(end + 3)..];
        var fragment = rest.IndexOf('#', StringComparison.Ordinal);
        if (fragment >= 0)
            rest = rest[..fragment];
        var question = rest.IndexOf('?', StringComparison.Ordinal);
        var query = question < 0 ? "" : rest[(question + 1)..];
        rest = question < 0 ? rest : rest[..question];
        var slash = rest.IndexOf('/', StringComparison.Ordinal);
        return (text[..end], slash < 0 ? rest : rest[..slash], slash < 0 ? "" : rest[slash..], query);
    }

    private static NbdUri WithAuthority(NbdUri uri, string text, string authority)
    {
        var user = authority.LastIndexOf('@');
        authority = authority[(user + 1)..];
        var colon = authority.LastIndexOf(':');
        if (authority.EndsWith(']'))
            colon = -1;
        var host = colon < 0 ? authority : authority[..colon];
        if (host.StartsWith('['))
        {
            if (!host.EndsWith(']') || !IPAddress.TryParse(host[1..^1], out _))
                throw Bad(text, $"'{host}' is no IPv6 address");
            host = host[1..^1];
        }

        if (host.Length == 0)
            throw Bad(text, "the host is missing");
        if (host.Contains(':', StringComparison.Ordinal) && !authority.StartsWith('['))
            throw Bad(text, "an IPv6 address stands in brackets");
        var port = colon < 0 ? "" : authority[(colon + 1)..];
        return uri with { Host = Decode(text, host), Port = port.Length == 0 ? NbdLimits.DefaultPort : ParsePort(text, port) };
    }

    private static int ParsePort(string text, string port) =>
        int.TryParse(port, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number is > 0 and <= 65535
            ? number
            : throw Bad(text, $"'{port}' is no port");

    private static Dictionary<string, string> ParseQuery(string text, string query)
    {
        var parameters = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var part in query.Split(['&', ';'], StringSplitOptions.RemoveEmptyEntries))
        {
            var equals = part.IndexOf('=', StringComparison.Ordinal);
            var name = Decode(text, equals < 0 ? part : part[..equals]);
            if (!parameters.TryAdd(name, equals < 0 ? "" : Decode(text, part[(equals + 1)..])))
                throw Bad(text, $"'{name}' is given twice");
        }

        return parameters;
    }

    private static string Decode(string text, string part)
    {
        var decoded = Uri.UnescapeDataString(part);
        return decoded.Contains('\0', StringComparison.Ordinal) ? throw Bad(text, "it holds a zero byte") : decoded;
    }

    private static string CheckedName(string exportName)
    {
        ArgumentNullException.ThrowIfNull(exportName);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(
            Encoding.UTF8.GetByteCount(exportName), NbdLimits.MaxStringLength, nameof(exportName));
        return exportName;
    }

    private static FormatException Bad(string text, string why) => new($"'{text}' is not an NBD URI: {why}.");
}
