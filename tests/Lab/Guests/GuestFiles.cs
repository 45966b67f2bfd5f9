// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;
using Tidemark.Qemu;

namespace Tidemark.Lab.Guests;

/// <summary>What was found on a guest's disk. <see cref="Problems"/> is empty when everything is as it must be.</summary>
public sealed record GuestFilesReport(int FileCount, IReadOnlyList<string> Problems)
{
    /// <summary>Throws with the first problems when there are any.</summary>
    public void EnsureWhole()
    {
        if (Problems.Count > 0)
            throw new InvalidDataException($"The guest's disk has {Problems.Count} problems: {string.Join("; ", Problems.Take(5))}.");
    }
}

/// <summary>Judges a guest's disk from outside, without mounting it and without privileges.</summary>
public static class GuestFiles
{
    /// <summary>
    /// Checks that the file system of a raw image is clean (<c>e2fsck -fn</c>), that every file has the content its name says, and that the
    /// <paramref name="required"/> files are there. The image is not changed. <paramref name="frozen"/> says that the file system was
    /// frozen: it must then be clean as it is; otherwise a copy is first recovered from its journal, as a booting machine does.
    /// </summary>
    public static async Task<GuestFilesReport> VerifyAsync(
        string rawImage, IReadOnlyCollection<GuestFile> required, bool frozen, CancellationToken cancellationToken)
    {
        var folder = Directory.CreateTempSubdirectory("tidemark-files").FullName;
        try
        {
            var problems = new List<string>();
            var image = rawImage;
            if (!frozen)
            {
                image = Path.Combine(folder, "recovered");
                await OwnedProcess.RunAsync("cp", ["--sparse=always", "--", rawImage, image], "copy the image", cancellationToken);
                var (recovery, output) = await OwnedProcess.RunAsync(
                    "e2fsck", ["-p", image], "recover the journal", cancellationToken, accepted: [0, 1, 4, 8]);
                if (recovery > 1)
                    problems.Add($"recovery ended with {recovery}: {LastLine(output)}");
            }

            var (check, report) = await OwnedProcess.RunAsync(
                "e2fsck", ["-f", "-n", image], "check the file system", cancellationToken, accepted: [0, 4, 8, 12]);
            if (check != 0 || report.Contains("skipping journal recovery", StringComparison.Ordinal))
                problems.Add($"e2fsck ended with {check}: {report.ReplaceLineEndings(" | ")}");
            var copies = Path.Combine(folder, "out");
            Directory.CreateDirectory(copies);
            await OwnedProcess.RunAsync("debugfs", ["-R", $"rdump /files {copies}", image], "read the files", cancellationToken);
            var found = await HashAsync(Path.Combine(copies, "files"), problems, cancellationToken);
            foreach (var file in required.Where(file => !found.Contains($"{file.Number}-{file.Sha256}")))
                problems.Add($"file {file.Number} with SHA-256 {file.Sha256[..12]}… is missing");
            return new GuestFilesReport(found.Count, problems);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task<HashSet<string>> HashAsync(string folder, List<string> problems, CancellationToken cancellationToken)
    {
        var found = new HashSet<string>(StringComparer.Ordinal);
        if (!Directory.Exists(folder))
            problems.Add("the folder 'files' is missing");
        else
        {
            foreach (var path in Directory.EnumerateFiles(folder, "*-*"))
            {
                var name = Path.GetFileName(path);
                await using var stream = File.OpenRead(path);
                var sum = Convert.ToHexStringLower(await SHA256.HashDataAsync(stream, cancellationToken));
                if (name[(name.IndexOf('-', StringComparison.Ordinal) + 1)..] == sum)
                    found.Add(name);
                else
                    problems.Add($"file '{name[..Math.Min(20, name.Length)]}…' has other content, SHA-256 {sum[..12]}…");
            }
        }

        return found;
    }

    private static string LastLine(string text) => text.Split('\n')[^1];
}
