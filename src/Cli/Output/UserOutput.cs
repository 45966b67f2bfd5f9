// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

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

    public static void Warning(string text) => Console.Error.WriteLine($"warning: {text}");

    public static void Error(string message, string? hint)
    {
        Console.Error.WriteLine($"error: {message}");
        if (hint is not null)
            Console.Error.WriteLine($"hint: {hint}");
    }
}
