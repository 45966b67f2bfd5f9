// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Qemu;

/// <summary>A tool could not be started, refused, or ended too early. <see cref="ToolMessage"/> is what it said itself.</summary>
public sealed class ImageToolException(string tool, int? exitCode, string toolMessage, string message) : Exception(message)
{
    /// <summary>Name of the program, such as <c>qemu-img</c>.</summary>
    public string Tool { get; } = tool;

    /// <summary>Exit code of the program, 128 + n when signal n ended it; null when it never ran.</summary>
    public int? ExitCode { get; } = exitCode;

    /// <summary>What the program wrote to its standard error, trimmed and cut to its last part; empty when nothing.</summary>
    public string ToolMessage { get; } = toolMessage;

    internal static ImageToolException Failed(string tool, string doing, int exitCode, string output) =>
        new(tool, exitCode, output, output.Length == 0
            ? $"'{tool}' failed to {doing}; it ended with exit code {exitCode} and said nothing."
            : $"'{tool}' failed to {doing}; it ended with exit code {exitCode} and said: {output.TrimEnd('.')}.");
}
