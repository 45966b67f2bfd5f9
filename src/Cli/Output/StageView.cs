// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;
using Tidemark.Engine.Care;

namespace Tidemark.Cli.Output;

/// <summary>The stages of a collection on standard error: a line each, or a JSON line each.</summary>
internal sealed class StageView(bool json) : IProgress<CareProgress>
{
    private readonly Lock _gate = new();
    private string _stage = "";

    /// <summary>A view as the user wants it, or null.</summary>
    public static StageView? For(UserOutput output) => output.Progress switch
    {
        "json" => new StageView(json: true),
        "plain" => new StageView(json: false),
        "auto" when !output.Quiet && !Console.IsErrorRedirected => new StageView(json: false),
        _ => null,
    };

    public void Report(CareProgress value)
    {
        lock (_gate)
        {
            if (value.Stage == _stage)
                return;
            _stage = value.Stage;
            Console.Error.WriteLine(json ? JsonSerializer.Serialize(value, LineJson.Default.CareProgress) : $"{value.Stage} …");
        }
    }
}
