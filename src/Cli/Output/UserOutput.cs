// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Tidemark.Engine.Repositories;

namespace Tidemark.Cli.Output;

/// <summary>
/// Where a command's words go: results to standard output (text, or one JSON document), everything else to standard error.
/// </summary>
internal sealed class UserOutput(bool json, bool quiet, bool verbose, string progress)
{
    public bool IsJson => json;

    /// <summary><c>auto</c>, <c>plain</c>, <c>json</c> or <c>none</c>.</summary>
    public string Progress => progress;

    public bool Quiet => quiet;

    public bool Verbose => verbose;

    /// <summary>The command's result, in the form that was asked for.</summary>
    public void Result<T>(T document, JsonTypeInfo<T> shape, Func<T, string> asText)
    {
        if (json)
            Console.Out.WriteLine(JsonSerializer.Serialize(document, shape));
        else if (!quiet)
            Console.Out.WriteLine(asText(document));
    }

    /// <summary>Something the user should know that is no failure.</summary>
    public void Note(string text)
    {
        if (!quiet)
            Console.Error.WriteLine(text);
    }

    /// <summary>What was asked of the repository's store, for those who want to know more.</summary>
    public void Requests(Requests requests)
    {
        if (verbose)
        {
            Note($"requests to the store: put {requests.Put}, get {requests.Get}, head {requests.Head}, list {requests.List}, delete "
                + $"{requests.Delete}; sent {Sizes.Bytes(requests.BytesSent)}, received {Sizes.Bytes(requests.BytesReceived)}");
        }
    }

    public static void Warning(string text) => Console.Error.WriteLine($"warning: {text}");

    public static void Error(string message, string? hint)
    {
        Console.Error.WriteLine($"error: {message}");
        if (hint is not null)
            Console.Error.WriteLine($"hint: {hint}");
    }
}
