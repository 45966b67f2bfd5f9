// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Text.Json;

namespace Tidemark.Qemu;

/// <summary>Choices of <see cref="QemuImg.CreateAsync"/>; what is null is left to the tool.</summary>
public sealed record ImageCreateOptions
{
    public long? ClusterSize { get; init; }

    /// <summary>qcow2 version, <c>0.10</c> or <c>1.1</c>.</summary>
    public string? Compat { get; init; }

    /// <summary>The image below; it is not opened, so it may be in use by a machine.</summary>
    public ImageRef? Backing { get; init; }

    /// <summary>QEMU's word: <c>off</c>, <c>metadata</c>, <c>falloc</c>, <c>full</c>.</summary>
    public string? Preallocation { get; init; }
}

/// <summary>qemu-img, one process per call. All calls throw <see cref="ImageToolException"/> with the tool's own message.</summary>
public static class QemuImg
{
    private const string Tool = "qemu-img";

    /// <summary>Creates an image of <paramref name="size"/> bytes; an existing file is overwritten.</summary>
    public static async Task CreateAsync(ImageRef image, long size, CancellationToken cancellationToken, ImageCreateOptions? options = null)
    {
        options ??= new ImageCreateOptions();
        List<string> arguments = ["create", "-q", "-f", image.Format];
        if (options.Backing is { } backing)
            arguments.AddRange(["-u", "-b", backing.Location, "-F", backing.Format]);
        if (options.ClusterSize is { } cluster)
            arguments.AddRange(["-o", $"cluster_size={cluster}"]);
        if (options.Compat is { } compat)
            arguments.AddRange(["-o", $"compat={compat}"]);
        if (options.Preallocation is { } preallocation)
            arguments.AddRange(["-o", $"preallocation={preallocation}"]);
        arguments.AddRange(["--", image.Location, Number(size)]);
        await RunAsync(arguments, $"create '{image.Location}'", cancellationToken);
    }

    /// <summary>Describes an image. <paramref name="inUse"/> allows one that a machine has open; it may be out of date.</summary>
    public static async Task<ImageInfo> InfoAsync(ImageRef image, CancellationToken cancellationToken, bool inUse = false)
    {
        List<string> arguments = ["info", "--output=json", "-f", image.Format, "--", image.Location];
        if (inUse)
            arguments.Insert(1, "-U");
        return await InfoAsync(arguments, image.Location, cancellationToken);
    }

    /// <summary>Guesses the format of a file that no guest has written; never for a disk that may be raw and was used by a guest.</summary>
    public static Task<ImageInfo> ProbeAsync(string path, CancellationToken cancellationToken) =>
        InfoAsync(["info", "--output=json", "--", Path.GetFullPath(path)], path, cancellationToken);

    /// <summary>Makes the disk <paramref name="size"/> bytes long; without <paramref name="shrink"/> nothing is ever cut off.</summary>
    public static async Task ResizeAsync(ImageRef image, long size, CancellationToken cancellationToken, bool shrink = false)
    {
        List<string> arguments = ["resize", "-q", "-f", image.Format, "--", image.Location, Number(size)];
        if (shrink)
            arguments.Insert(1, "--shrink");
        await RunAsync(arguments, $"resize '{image.Location}' to {size} bytes", cancellationToken);
    }

    /// <summary>Copies the content of one image into another, which is created; zeros become holes.</summary>
    public static async Task ConvertAsync(ImageRef source, ImageRef target, CancellationToken cancellationToken, bool inUse = false)
    {
        List<string> arguments = ["convert", "-q", "-f", source.Format, "-O", target.Format, "--", source.Location, target.Location];
        if (inUse)
            arguments.Insert(1, "-U");
        await RunAsync(arguments, $"convert '{source.Location}' to '{target.Location}'", cancellationToken);
    }

    /// <summary>True when two images hold the same content; of different sizes, the longer one only zeros behind the other's end.</summary>
    public static async Task<bool> CompareAsync(ImageRef left, ImageRef right, CancellationToken cancellationToken)
    {
        List<string> arguments = ["compare", "-q", "-f", left.Format, "-F", right.Format, "--", left.Location, right.Location];
        var (exitCode, _) = await OwnedProcess.RunAsync(
            Tool, arguments, $"compare '{left.Location}' with '{right.Location}'", cancellationToken, accepted: [0, 1]);
        return exitCode == 0;
    }

    /// <summary>Adds a persistent bitmap to an image that no one has open.</summary>
    public static Task AddBitmapAsync(ImageRef image, string name, CancellationToken cancellationToken) =>
        RunAsync(
            ["bitmap", "-f", image.Format, "--add", "--", image.Location, name],
            $"add bitmap '{name}' to '{image.Location}'",
            cancellationToken);

    /// <summary>Removes a persistent bitmap from an image that no one has open.</summary>
    public static Task RemoveBitmapAsync(ImageRef image, string name, CancellationToken cancellationToken) =>
        RunAsync(
            ["bitmap", "-f", image.Format, "--remove", "--", image.Location, name],
            $"remove bitmap '{name}' from '{image.Location}'",
            cancellationToken);

    private static async Task<ImageInfo> InfoAsync(List<string> arguments, string path, CancellationToken cancellationToken)
    {
        var (_, output) = await OwnedProcess.RunAsync(Tool, arguments, $"describe '{path}'", cancellationToken);
        try
        {
            return JsonSerializer.Deserialize(output, ImageJson.Default.ImageInfo) ?? throw new JsonException("The document is null.");
        }
        catch (JsonException e)
        {
            throw new ImageToolException(Tool, 0, output, $"'{Tool}' described '{path}' in a form that can't be read: {e.Message}");
        }
    }

    private static async Task RunAsync(List<string> arguments, string doing, CancellationToken cancellationToken) =>
        await OwnedProcess.RunAsync(Tool, arguments, doing, cancellationToken);

    private static string Number(long value) => value.ToString(CultureInfo.InvariantCulture);
}
